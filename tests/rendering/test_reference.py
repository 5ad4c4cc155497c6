"""The reference renderer's gradients against central differences, in float64 and away from the thresholds.

Alpha is discontinuous at 1/255 and at its cap, and a transmittance of 1e-4 stops a pixel: there are no difference
quotients there. The Gaussians are wide and half transparent, so that every pixel is far from the thresholds.
"""

import torch

from ds4d.geometry import orbit_cameras
from ds4d.rendering import ReferenceRenderer, SplatSettings
from ds4d.types import Cameras, Gaussians


def soft_scene() -> tuple[dict[str, torch.Tensor], Cameras]:
    count = 4
    leaves = {
        "means": 0.3 * torch.randn(2, count, 3, dtype=torch.float64),
        "quats": torch.randn(2, count, 4, dtype=torch.float64),
        "scales": 0.4 + 0.3 * torch.rand(2, count, 3, dtype=torch.float64),
        "opacities": 0.3 + 0.4 * torch.rand(2, count, dtype=torch.float64),
        "sh": 0.3 * torch.randn(count, 4, 3, dtype=torch.float64),
    }
    rig = orbit_cameras([10.0, 100.0], [20.0, -30.0], fovy_deg=20.0, distance=2.0, width=4, height=3)
    return leaves, rig[:, None].to(torch.float64)


def test_gradients_equal_difference_quotients() -> None:
    leaves, cameras = soft_scene()
    backgrounds = torch.rand(2, 1, 3, dtype=torch.float64)

    def render(backgrounds: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gaussians = Gaussians(**dict(zip(leaves, values, strict=True)))
        rendering = ReferenceRenderer().render(gaussians, cameras, backgrounds=backgrounds)
        return rendering.colors, rendering.alphas, rendering.depths

    inputs = [x.requires_grad_() for x in (backgrounds, *leaves.values())]
    with torch.no_grad():
        alphas = render(*inputs)[1]
    assert alphas.min() > 0.2 and alphas.max() < 0.999, "the scene is near a threshold"
    assert torch.autograd.gradcheck(render, inputs, eps=1e-6, atol=1e-6)


def test_gradients_with_a_clamped_jacobian() -> None:
    """Far outside the image a Gaussian's slope is clamped, which changes its gradient."""
    camera = Cameras(
        torch.eye(4, dtype=torch.float64)[None],
        torch.tensor([[[4.0, 0, 2], [0, 4, 1.5], [0, 0, 1]]], dtype=torch.float64),
        4,
        3,
    )
    means = torch.tensor([[2.0, -2.5, 2.0]], dtype=torch.float64)  # slopes 1 and -1.25; clamped to 0.65 and -0.49
    scales = torch.tensor([[1.5, 1.8, 1.2]], dtype=torch.float64)

    def render(means: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        one = means.new_ones(1)
        quats = means.new_tensor([[1.0, 0.2, 0.3, 0.1]])
        gaussians = Gaussians(means, quats, scales, 0.9 * one, means.new_ones(1, 1, 3))
        return ReferenceRenderer().render(gaussians, camera).alphas

    with torch.no_grad():
        assert render(means, scales).min() > 0.02
    assert torch.autograd.gradcheck(render, (means.requires_grad_(), scales.requires_grad_()), eps=1e-6, atol=1e-6)


def test_gradient_of_means2d_is_that_of_a_shift() -> None:
    leaves, cameras = soft_scene()
    gaussians = Gaussians(**{name: leaf.requires_grad_() for name, leaf in leaves.items()})
    rendering = ReferenceRenderer().render(gaussians, cameras)
    rendering.alphas.sum().backward()
    # Shifting the principal point shifts all Gaussians in the image together.
    step = 1e-5
    sums = []
    for sign in (1, -1):
        Ks = cameras.Ks.clone()
        Ks[..., 0, 2] += sign * step
        moved = Cameras(cameras.viewmats, Ks, cameras.width, cameras.height)
        sums.append(ReferenceRenderer().render(gaussians, moved).alphas.sum(dim=(-3, -2, -1)).detach())
    want = (sums[0] - sums[1]) / (2 * step)
    torch.testing.assert_close(rendering.info["means2d"].grad[..., 0].sum(-1), want, atol=1e-6, rtol=1e-4)


def test_chunks_do_not_change_the_image(monkeypatch) -> None:
    leaves, cameras = soft_scene()
    whole = ReferenceRenderer().render(Gaussians(**leaves), cameras)
    monkeypatch.setattr("ds4d.rendering.reference._PAIRS_PER_CHUNK", 20)  # five pixels at a time, then two
    in_pieces = ReferenceRenderer().render(Gaussians(**leaves), cameras)
    torch.testing.assert_close(in_pieces.colors, whole.colors, atol=1e-14, rtol=0)


def test_near_and_far_planes_and_blur() -> None:
    leaves, cameras = soft_scene()
    gaussians = Gaussians(**leaves)
    for settings in (SplatSettings(near_plane=10.0), SplatSettings(far_plane=0.5)):
        assert ReferenceRenderer(settings).render(gaussians, cameras).alphas.max() == 0
    blurred = ReferenceRenderer(SplatSettings(eps2d=5.0)).render(gaussians, cameras)
    assert (blurred.info["radii"] > ReferenceRenderer().render(gaussians, cameras).info["radii"]).any()
