"""Every renderer agrees with the float64 reference in values and gradients, in simple and in difficult scenes."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jaxtyping
import pytest
import torch
from torch import Tensor

from ds4d.geometry import multiply_quats, orbit_cameras, quats_to_matrices
from ds4d.geometry.spherical_harmonics import rgb_to_sh
from ds4d.rendering import RENDERERS, ReferenceRenderer
from ds4d.types import Cameras, Gaussians, Renderer, Rendering

Scene = tuple[Gaussians, Cameras]
FIELDS = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.gpu if name == "gsplat" else ()) for name in RENDERERS])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return RENDERERS[request.param]()


def device_of(renderer: Renderer) -> str:
    return "cuda" if type(renderer).__name__ == "GsplatRenderer" else "cpu"


def moved(gaussians: Gaussians, cameras: Cameras, *to: torch.dtype | str) -> Scene:
    return Gaussians(**{name: getattr(gaussians, name).to(*to) for name in FIELDS}), cameras.to(*to)


def cloud(
    lead: tuple[int, ...] = (), *, count: int = 150, radius: float = 0.5, scale: float = 0.03, bases: int = 1
) -> Gaussians:
    """Random Gaussians in a cube of half side `radius`; the opacities cover [0, 1]."""
    return Gaussians(
        means=radius * (2 * torch.rand(*lead, count, 3) - 1),
        quats=torch.nn.functional.normalize(torch.randn(*lead, count, 4), dim=-1),
        scales=scale * (0.5 * torch.randn(*lead, count, 3)).exp(),
        opacities=torch.rand(*lead, count),
        sh=0.5 * torch.randn(count, bases, 3),
    )


def rig(times: int | None = None, views: int = 2, width: int = 40, height: int = 24) -> Cameras:
    """Cameras around the origin, all different; the size is no multiple of a tile."""
    count = (times or 1) * views
    azimuths = [37.0 + 360 * k / count for k in range(count)]
    cameras = orbit_cameras(
        azimuths, [20.0 - 15 * (k % 3) for k in range(count)], fovy_deg=33.9, distance=2.0, width=width, height=height
    )
    if times is None:
        return cameras
    lead = (times, views)
    return replace(cameras, viewmats=cameras.viewmats.unflatten(0, lead), Ks=cameras.Ks.unflatten(0, lead))


def plain() -> Scene:
    return cloud(), rig()


def moving() -> Scene:
    return cloud((3,)), rig(3)


def moving_colors() -> Scene:
    gaussians = cloud((3,))
    return replace(gaussians, sh=0.5 * torch.randn(3, gaussians.num_gaussians, 1, 3)), rig(3)


def degree_3() -> Scene:
    return cloud((2,), bases=16), rig(2)


def degree_1_moving() -> Scene:
    gaussians = cloud((2,), bases=4)
    return replace(gaussians, sh=0.5 * torch.randn(2, gaussians.num_gaussians, 4, 3)), rig(2)


def all_around_the_camera() -> Scene:
    """Behind it, before the near plane, far off screen (where the Jacobian is clamped) and in the image."""
    return cloud(count=300, radius=4.0, scale=0.1), rig()


def huge() -> Scene:
    """Wider than the image."""
    gaussians = cloud(count=30, scale=1.0)
    return replace(gaussians, opacities=0.3 * gaussians.opacities), rig()


def tiny() -> Scene:
    """Far below a pixel: only the blur is visible."""
    return cloud(scale=1e-5), rig()


def needles() -> Scene:
    gaussians = cloud()
    return replace(gaussians, scales=gaussians.scales * torch.tensor([10.0, 0.1, 0.01])), rig()


def opaque() -> Scene:
    """Alpha is capped and pixels stop early everywhere."""
    gaussians = cloud(scale=0.1)
    return replace(gaussians, opacities=torch.ones_like(gaussians.opacities)), rig()


def transparent() -> Scene:
    """Below the alpha threshold, or fully transparent."""
    gaussians = cloud()
    return replace(gaussians, opacities=0.0039 * gaussians.opacities.round()), rig()


def nothing() -> Scene:
    return cloud((2,), count=0), rig(2)


def off_center() -> Scene:
    """Principal points off the image center, with pixels that are not square."""
    cameras = rig()
    return cloud(), replace(cameras, Ks=cameras.Ks * torch.tensor([[1.3, 1, 0.6], [1, 0.8, 1.3], [1, 1, 1]]))


def single_pixel() -> Scene:
    return cloud(), rig(width=1, height=1)


def many_tiles() -> Scene:
    return cloud(count=60), rig(views=1, width=67, height=50)


SCENES: list[Callable[[], Scene]] = [
    plain, moving, moving_colors, degree_3, degree_1_moving, all_around_the_camera, huge, tiny, needles, opaque,
    transparent, nothing, off_center, single_pixel, many_tiles,
]  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A rendering, and the gradients of a random linear function of it."""

    rendering: Rendering
    gradients: dict[str, Tensor]


def render(renderer: Renderer, gaussians: Gaussians, cameras: Cameras) -> Result:
    """Renders over random backgrounds; all random numbers are the same for every renderer."""
    leaves = {name: getattr(gaussians, name).clone().requires_grad_() for name in FIELDS}
    like = leaves["means"]
    generator = torch.Generator().manual_seed(1)
    backgrounds = torch.rand(*cameras.viewmats.shape[:-2], 3, generator=generator).to(like).requires_grad_()
    rendering = renderer.render(Gaussians(**leaves), cameras, backgrounds=backgrounds)
    outputs = (rendering.colors, rendering.alphas, rendering.depths)
    upstream = [torch.randn(output.shape, generator=generator).to(like) for output in outputs]
    torch.autograd.backward(outputs, upstream)
    gradients = {name: leaf.grad for name, leaf in leaves.items()}
    return Result(rendering, {**gradients, "backgrounds": backgrounds.grad, "means2d": rendering.info["means2d"].grad})


def assert_close(name: str, got: Tensor, want: Tensor, *, tolerance: float, outliers: float) -> None:
    """All but a fraction of the entries are within tolerance, relative to the largest expected one."""
    assert got.shape == want.shape, name
    if want.numel() == 0:
        return
    got = got.detach().to(want)
    assert got.isfinite().all(), name
    scale = want.abs().max().clamp_min(1e-6)
    errors = (got - want).abs() / scale
    fraction = (errors > tolerance).double().mean().item()
    assert fraction <= outliers, f"{name}: {fraction:.2%} of the entries differ, by up to {errors.max():.1e}"


@functools.cache
def prepared(scene: Callable[[], Scene]) -> tuple[Gaussians, Cameras, Result]:
    """The scene in float32, and the reference's result in float64."""
    torch.manual_seed(0)
    gaussians, cameras = scene()
    return gaussians, cameras, render(ReferenceRenderer(), *moved(gaussians, cameras, torch.float64))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_equals_the_reference(renderer: Renderer, scene: Callable[[], Scene]) -> None:
    gaussians, cameras, want = prepared(scene)
    got = render(renderer, *moved(gaussians, cameras, device_of(renderer)))
    # If a Gaussian's alpha is at the threshold of 1/255, or a transmittance at its minimum, rounding decides whether
    # the Gaussian counts: such a pixel changes by up to 1/255, and so do the gradients that pass through it.
    for name in ("colors", "alphas", "depths"):
        exact = getattr(want.rendering, name).detach()
        assert_close(name, getattr(got.rendering, name), exact, tolerance=5e-5, outliers=2e-3)
    for name, exact in want.gradients.items():
        if exact is not None and exact.numel():
            assert_close(name, got.gradients[name], exact, tolerance=5e-4, outliers=1e-2)
    radii = want.rendering.info["radii"].double()
    assert_close("radii", got.rendering.info["radii"], radii, tolerance=0, outliers=5e-3)


def test_a_known_gaussian(renderer: Renderer) -> None:
    scale, opacity, background = 0.1, 0.8, 0.25
    gaussians = Gaussians(
        means=torch.zeros(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), scale),
        opacities=torch.tensor([opacity]),
        sh=rgb_to_sh(torch.tensor([[[1.0, 0.5, 0.0]]])),
    )
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=90.0, distance=2.0, width=20, height=20)
    backgrounds = torch.full((1, 3), background)
    device = device_of(renderer)
    rendering = renderer.render(*moved(gaussians, cameras, device), backgrounds=backgrounds.to(device))
    # Focal length 10 px, so a standard deviation of 0.1 * 10 / 2 px; pixel (10, 10) is centered half a pixel off.
    variance = (scale * 10 / 2) ** 2 + 0.3
    alpha = opacity * math.exp(-0.5 * (0.5**2 + 0.5**2) / variance)
    color = torch.tensor([1.0, 0.5, 0.0]) * alpha + background * (1 - alpha)
    torch.testing.assert_close(rendering.colors[0, :, 10, 10].cpu(), color, atol=1e-5, rtol=0)
    assert rendering.alphas[0, 0, 10, 10].item() == pytest.approx(alpha, abs=1e-5)
    assert rendering.depths[0, 0, 10, 10].item() == pytest.approx(2.0, abs=1e-5)
    # Far from it: the background, and no depth.
    assert rendering.colors[0, :, 0, 0].tolist() == [background] * 3
    assert rendering.depths[0, 0, 0, 0].item() == 0
    extent = math.sqrt(2 * math.log(opacity * 255))
    assert rendering.info["radii"].tolist() == [[[math.ceil(extent * math.sqrt(variance))] * 2]]
    torch.testing.assert_close(rendering.info["means2d"].cpu(), torch.tensor([[[10.0, 10.0]]]))


def test_nearer_gaussians_occlude_farther_ones(renderer: Renderer) -> None:
    near_and_far = torch.tensor([[0, 0, 0.5], [0, 0, -0.5]])
    red_and_green = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    gaussians = Gaussians(
        means=near_and_far,
        quats=torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4),
        scales=torch.full((2, 3), 10.0),  # flat over the image: alpha is the opacity
        opacities=torch.tensor([0.75, 0.5]),
        sh=rgb_to_sh(red_and_green)[:, None],
    )
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=10.0, distance=2.0, width=1, height=1)
    rendering = renderer.render(*moved(gaussians, cameras, device_of(renderer)))
    want = torch.tensor([0.75, 0.25 * 0.5, 0])
    torch.testing.assert_close(rendering.colors[0, :, 0, 0].cpu(), want, atol=1e-4, rtol=0)
    depth = (0.75 * 1.5 + 0.125 * 2.5) / 0.875
    assert rendering.depths.item() == pytest.approx(depth, abs=1e-3)


def test_rigid_motion_of_scene_and_cameras_changes_nothing(renderer: Renderer) -> None:
    gaussians, cameras = moved(*plain(), device_of(renderer))
    quat = torch.nn.functional.normalize(torch.randn(4), dim=0).to(gaussians.means)
    shift = torch.randn(3).to(gaussians.means)
    rotation = quats_to_matrices(quat)
    motion = torch.eye(4).to(gaussians.means)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    moved_gaussians = replace(
        gaussians, means=gaussians.means @ rotation.T + shift, quats=multiply_quats(quat, gaussians.quats)
    )
    moved_cameras = replace(cameras, viewmats=cameras.viewmats @ torch.linalg.inv(motion))
    want, got = renderer.render(gaussians, cameras), renderer.render(moved_gaussians, moved_cameras)
    # The motion is rounded, so a few pixels are on the other side of a threshold.
    for name in ("colors", "alphas", "depths"):
        assert_close(name, getattr(got, name), getattr(want, name), tolerance=5e-4, outliers=5e-3)


def test_the_order_of_the_gaussians_does_not_matter(renderer: Renderer) -> None:
    gaussians, cameras = moved(*plain(), device_of(renderer))
    order = torch.randperm(gaussians.num_gaussians)
    shuffled = Gaussians(**{name: getattr(gaussians, name)[order] for name in FIELDS})
    want, got = renderer.render(gaussians, cameras), renderer.render(shuffled, cameras)
    assert torch.allclose(got.colors, want.colors, atol=1e-6)
    assert torch.equal(got.info["radii"], want.info["radii"][:, order])


def test_equal_depths_keep_their_order(renderer: Renderer) -> None:
    gaussians = replace(cloud(count=20), means=torch.zeros(20, 3))
    cameras = rig(views=1)
    got = renderer.render(*moved(gaussians, cameras, device_of(renderer)))
    want = ReferenceRenderer().render(gaussians, cameras)
    assert_close("colors", got.colors, want.colors, tolerance=5e-5, outliers=2e-3)


def test_a_batch_equals_its_images_one_by_one(renderer: Renderer) -> None:
    gaussians, cameras = moved(*moving(), device_of(renderer))
    batch = renderer.render(gaussians, cameras)
    for time in range(3):
        one = Gaussians(**{name: getattr(gaussians, name)[time] for name in FIELDS[:4]}, sh=gaussians.sh)
        for view in range(2):
            camera = cameras[time, view : view + 1]
            alone = renderer.render(one, camera)
            assert torch.allclose(alone.colors[0], batch.colors[time, view], atol=1e-5)
            assert torch.allclose(alone.depths[0], batch.depths[time, view], atol=1e-4)


def test_without_backgrounds_colors_are_premultiplied(renderer: Renderer) -> None:
    gaussians, cameras = moved(*plain(), device_of(renderer))
    bare = renderer.render(gaussians, cameras)
    backgrounds = torch.rand(2, 3).to(gaussians.means)
    over = renderer.render(gaussians, cameras, backgrounds=backgrounds)
    torch.testing.assert_close(over.colors, bare.colors + (1 - bare.alphas) * backgrounds[..., None, None])


def test_repeated_renders_are_bit_equal(renderer: Renderer) -> None:
    gaussians, cameras = moved(*moving(), device_of(renderer))
    first, second = render(renderer, gaussians, cameras), render(renderer, gaussians, cameras)
    for name in ("colors", "alphas", "depths"):
        assert torch.equal(getattr(first.rendering, name), getattr(second.rendering, name))
    if device_of(renderer) == "cpu":  # on CUDA, gradients are summed in no fixed order
        for name, gradient in first.gradients.items():
            assert gradient is None or torch.equal(gradient, second.gradients[name]), name


def test_gradients_only_where_required(renderer: Renderer) -> None:
    gaussians, cameras = moved(*plain(), device_of(renderer))
    assert not renderer.render(gaussians, cameras).colors.requires_grad
    sh = gaussians.sh.clone().requires_grad_()
    rendering = renderer.render(replace(gaussians, sh=sh), cameras)
    rendering.colors.sum().backward()
    assert sh.grad is not None and sh.grad.abs().sum() > 0
    assert rendering.info["means2d"].grad is None


@pytest.mark.parametrize("cut", ["means", "cameras", "backgrounds"])
def test_mismatched_axes_are_refused(renderer: Renderer, cut: str) -> None:
    gaussians, cameras = moved(*moving(), device_of(renderer))
    backgrounds = torch.zeros(3, 2, 3).to(gaussians.means)
    if cut == "means":
        gaussians = Gaussians(**{name: getattr(gaussians, name)[0] for name in FIELDS[:4]}, sh=gaussians.sh)
    elif cut == "cameras":
        cameras = cameras[:2]
    else:
        backgrounds = backgrounds[:2]
    # Shapes that contradict the annotations are refused by jaxtyping before our check.
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
        renderer.render(gaussians, cameras, backgrounds=backgrounds)


@pytest.mark.parametrize("name", FIELDS)
def test_nan_is_refused(renderer: Renderer, name: str) -> None:
    if device_of(renderer) == "cuda":
        pytest.skip("checking for NaN would wait for the device in every step; the loss is checked instead")
    gaussians, cameras = plain()
    values = getattr(gaussians, name).clone()
    values.view(-1)[7] = torch.nan
    with pytest.raises(ValueError, match=f"{name} .*NaN"):
        renderer.render(replace(gaussians, **{name: values}), cameras)
