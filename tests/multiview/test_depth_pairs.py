"""A pair of depths as Gaussians: known surfaces, and what their images show."""

from dataclasses import replace

import pytest
import torch

from ds4d.geometry import orbit_cameras, quats_to_matrices
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.rendering import renderer_for

CAMERA = orbit_cameras([0.0], [0.0], fovy_deg=53.13, distance=2.0, width=32, height=32)  # a pixel is 1/16 at depth 2


def slab(front: float = 1.9, back: float = 2.1, times: int = 1) -> DepthPair:
    inside = torch.zeros(times, 32, 32, dtype=torch.bool)
    inside[:, 8:24, 10:22] = True
    depths = torch.full((times, 32, 32), 1.0)
    red, blue = torch.zeros(times, 3, 32, 32), torch.zeros(times, 3, 32, 32)
    red[:, 0], blue[:, 2] = 1.0, 1.0
    return DepthPair(front * depths, back * depths, inside, red, blue)


def test_one_gaussian_per_pixel_and_side_on_the_ray_of_the_pixel() -> None:
    gaussians = surface_gaussians(slab(), CAMERA)
    assert gaussians.means.shape == (1, 2 * 16 * 12, 3)
    x, y, z = gaussians.means[0].T
    torch.testing.assert_close(z.abs().amax(), torch.tensor(0.1), atol=1e-5, rtol=0)
    assert ((z.abs() - 0.1).abs() < 1e-5).sum() == 2 * 14 * 10, "all but the rim, which reaches inward"
    inner = (x > 0) & (x < 0.05) & (y > 0) & (y < 0.05) & (z > 0)
    torch.testing.assert_close(gaussians.means[0, inner], torch.tensor([[1.9 / 64, 1.9 / 64, 0.1]]), atol=1e-4, rtol=0)


def test_gaussians_are_flat_and_wider_where_the_surface_slants() -> None:
    level = surface_gaussians(slab(), CAMERA)
    ramp = torch.arange(32) * (2 / 32)  # one unit of depth per unit across
    slanted = slab()
    slanted = replace(slanted, front=slanted.front + ramp - 1.0, back=slanted.back + ramp - 1.0)
    tilted = surface_gaussians(slanted, CAMERA)
    middle = 7 * 12 + 6  # a pixel of the front, far from the rim
    for gaussians, width in ((level, 1.0), (tilted, 2**0.5)):
        scales = gaussians.scales[0, middle].sort().values
        assert scales[0] < 0.5 * scales[1]
        assert scales[2] / scales[1] == pytest.approx(width, rel=0.1)
    normal = quats_to_matrices(tilted.quats[0, middle])[:, tilted.scales[0, middle].argmin()]
    torch.testing.assert_close(normal.abs(), torch.tensor([0.5**0.5, 0.0, 0.5**0.5]), atol=0.1, rtol=0)


def test_the_mask_keeps_its_area_and_each_side_its_color() -> None:
    gaussians = surface_gaussians(slab(), CAMERA)
    both = orbit_cameras([0.0, 180.0], [0.0, 0.0], fovy_deg=53.13, distance=2.0, width=128, height=128)
    rendered = renderer_for("cpu").render(gaussians, both[None])
    areas = (rendered.alphas[0] > 0.5).flatten(1).sum(1) / 16
    assert areas[0] == pytest.approx(16 * 12, rel=0.08)
    assert rendered.colors[0, 0, 0, 64, 64] > 0.95 and rendered.colors[0, 0, 2, 64, 64] < 0.05
    assert rendered.colors[0, 1, 2, 64, 64] > 0.95 and rendered.colors[0, 1, 0, 64, 64] < 0.05


def test_the_sides_are_closed() -> None:
    pair = slab(1.5, 2.5)
    side = orbit_cameras([90.0], [0.0], fovy_deg=53.13, distance=2.0, width=64, height=64)
    rendered = renderer_for("cpu").render(surface_gaussians(pair, CAMERA), side[None])
    assert (rendered.alphas[0, 0, 0, 28:36, 22:42] > 0.9).all()


def test_times_with_fewer_pixels_are_padded_with_transparent_gaussians() -> None:
    pair = slab(times=2)
    pair.inside[1, :16] = False
    gaussians = surface_gaussians(pair, CAMERA)
    assert (gaussians.opacities > 0).sum(1).tolist() == [384, 192]
    alone = surface_gaussians(pair.at_times(slice(1, 2)), CAMERA)
    assert torch.equal(alone.means[0], gaussians.means[1, gaussians.opacities[1] > 0])


def test_gaussians_are_in_the_world_of_the_camera() -> None:
    """The same pair seen by a camera elsewhere is the same object, moved with the camera."""
    other = orbit_cameras([70.0], [25.0], fovy_deg=53.13, distance=2.0, width=32, height=32)
    here, there = surface_gaussians(slab(), CAMERA), surface_gaussians(slab(), other)
    for gaussians, camera in ((here, CAMERA), (there, other)):
        rotation, shift = camera.viewmats[0, :3, :3], camera.viewmats[0, :3, 3]
        in_camera = gaussians.means[0] @ rotation.T + shift
        assert in_camera[:, 2].min() == pytest.approx(1.9) and in_camera[:, 2].max() == pytest.approx(2.1)
