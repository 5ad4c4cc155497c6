"""The visual hull of shapes whose silhouettes are known in closed form."""

import math

import pytest
import torch

from ds4d.geometry import (
    HullConfig,
    VoxelPixels,
    carve,
    color_points,
    occupied_bounds,
    orbit_cameras,
    sample_surface,
    surface_voxels,
)
from ds4d.types import Cameras

RADIUS = 0.3
BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
EXACT = HullConfig(resolution=40, dilation=0.0, view_tolerance=0)


def ring(count: int = 12, size: int = 96) -> Cameras:
    """Cameras all around, above and below alternately."""
    azimuths = [360.0 * i / count for i in range(count)]
    elevations = [(0.0, 35.0, -35.0, 70.0)[i % 4] for i in range(count)]
    return orbit_cameras(azimuths, elevations, fovy_deg=40.0, distance=2.0, width=size, height=size)


def ball_silhouettes(cameras: Cameras) -> torch.Tensor:
    """Alphas [V, 1, H, W] of a ball at the origin: the pixels whose ray passes within RADIUS of it."""
    rows, columns = torch.meshgrid(torch.arange(cameras.height), torch.arange(cameras.width), indexing="ij")
    pixels = torch.stack((columns + 0.5, rows + 0.5, torch.ones(rows.shape)), dim=-1)
    rays = torch.einsum("vij,hwj->vhwi", torch.linalg.inv(cameras.Ks), pixels)
    rays = torch.nn.functional.normalize(rays, dim=-1)
    center = cameras.viewmats[:, :3, 3]
    along = (rays * center[:, None, None]).sum(-1, keepdim=True)
    distances = (center[:, None, None] - along * rays).norm(dim=-1)
    return (distances < RADIUS).float()[:, None]


def voxel_radii(resolution: int) -> torch.Tensor:
    axis = (torch.arange(resolution) + 0.5) / resolution - 0.5
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).norm(dim=-1)


def test_the_hull_of_a_ball_contains_it_and_little_more() -> None:
    hull = carve(ball_silhouettes(ring()), ring(), BOX, EXACT)
    radii = voxel_radii(EXACT.resolution)
    pixel = 2 / ring().Ks[0, 0, 0].item()  # of a pixel at the ball's distance
    assert hull[radii < RADIUS - pixel].all()
    assert not hull[radii > 1.25 * RADIUS].any()
    # Cones that touch a ball hold more than the ball, whole pixels take a little of that away.
    assert 0.95 < hull.float().mean().item() / (4 / 3 * math.pi * RADIUS**3) < 1.15


def test_more_views_only_remove_voxels() -> None:
    cameras = ring()
    few = cameras[:4]
    alphas = ball_silhouettes(cameras)
    hull, larger = carve(alphas, cameras, BOX, EXACT), carve(alphas[:4], few, BOX, EXACT)
    assert (hull & ~larger).sum() == 0 < (larger & ~hull).sum()


def test_masks_are_dilated_by_pixels_of_a_256_pixel_image() -> None:
    cameras = ring(size=128)
    alphas = ball_silhouettes(cameras)
    grown = carve(alphas, cameras, BOX, HullConfig(resolution=40, dilation=4.0, view_tolerance=0))
    pixel = 2 / cameras.Ks[0, 0, 0].item()
    radii = voxel_radii(40)
    assert grown[radii < RADIUS + pixel].all()
    assert not carve(alphas, cameras, BOX, EXACT)[radii > RADIUS + pixel].all()


def test_dilation_depends_on_the_height_of_the_images() -> None:
    """Wider images with the same pixels in the middle give the same hull."""
    cameras = ring(size=64)
    alphas = ball_silhouettes(cameras)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 2] += 64
    wide = Cameras(cameras.viewmats, Ks, 192, 64)
    config = HullConfig(resolution=24, dilation=8.0)
    padded = torch.nn.functional.pad(alphas, (64, 64))
    assert torch.equal(carve(padded, wide, BOX, config), carve(alphas, cameras, BOX, config))


def test_voxels_are_carved_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory depends on the chunks, the hull does not."""
    cameras = ring()
    alphas = ball_silhouettes(cameras)
    alphas[5, :, :48] = 0
    config = HullConfig(resolution=24, view_tolerance=2)
    whole = carve(alphas, cameras, BOX, config)
    monkeypatch.setattr("ds4d.geometry.visual_hull._VOXELS_AT_ONCE", 1000)
    assert torch.equal(carve(alphas, cameras, BOX, config), whole)


def test_kept_pixels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds4d.geometry.visual_hull._VOXELS_AT_ONCE", 1000)
    cameras = ring()
    config = HullConfig(resolution=24, view_tolerance=2)
    pixels = VoxelPixels(cameras, BOX, config.resolution)
    for spoiled in (0, 5):
        alphas = ball_silhouettes(cameras)
        alphas[spoiled, :, :48] = 0
        assert torch.equal(carve(alphas, cameras, BOX, config, pixels), carve(alphas, cameras, BOX, config))


@pytest.mark.parametrize("resolution", [1, 513])
def test_resolution_is_bounded(resolution: int) -> None:
    with pytest.raises(ValueError, match="resolution"):
        HullConfig(resolution=resolution)


def test_view_tolerance_restores_what_one_bad_mask_removes() -> None:
    cameras = ring()
    alphas = ball_silhouettes(cameras)
    whole = carve(alphas, cameras, BOX, EXACT)
    alphas[5, :, :48] = 0  # the upper half of one mask is missing
    strict = carve(alphas, cameras, BOX, EXACT)
    tolerant = carve(alphas, cameras, BOX, HullConfig(resolution=40, dilation=0.0, view_tolerance=1))
    assert strict.sum() < 0.7 * whole.sum()
    assert tolerant.sum() > 0.9 * whole.sum()
    assert (tolerant & ~whole).sum() < 0.01 * whole.sum()  # voxels on the outline, where whole pixels disagree


def test_view_tolerance_changes_nothing_where_the_views_agree() -> None:
    cameras = ring()
    alphas = ball_silhouettes(cameras)
    tolerant = carve(alphas, cameras, BOX, HullConfig(resolution=40, dilation=0.0, view_tolerance=2))
    assert torch.equal(tolerant, carve(alphas, cameras, BOX, EXACT))


def test_bounds_are_the_faces_of_the_outermost_voxels() -> None:
    hull = torch.zeros(4, 4, 4, dtype=torch.bool)
    hull[1, 2, 0] = hull[2, 2, 3] = True
    box = torch.tensor([[0.0, 0, 0], [4, 8, 4]])
    assert occupied_bounds(hull, box).tolist() == [[1, 4, 0], [3, 6, 4]]


def test_masks_that_do_not_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        occupied_bounds(torch.zeros(4, 4, 4, dtype=torch.bool), BOX)


@pytest.mark.parametrize(("low", "high"), [(2, 7), (0, 5), (0, 8)], ids=["inside", "in the corner", "everything"])
def test_surface_of_a_cube(low: int, high: int) -> None:
    hull = torch.zeros(8, 8, 8, dtype=torch.bool)
    hull[low:high, low:high, low:high] = True
    side = high - low
    surface = surface_voxels(hull)
    assert surface.sum() == side**3 - (side - 2) ** 3
    assert not surface[low + 1 : high - 1, low + 1 : high - 1, low + 1 : high - 1].any()
    assert not (surface & ~hull).any()


def test_surface_points_lie_evenly_in_surface_voxels(generator: torch.Generator) -> None:
    hull = torch.zeros(8, 8, 8, dtype=torch.bool)
    hull[2:6, 2:6, 2:6] = True
    box = torch.tensor([[0.0, 0, 0], [8, 16, 8]])
    points = sample_surface(hull, box, 200, generator)
    voxels = (points / torch.tensor([1, 2, 1])).floor().long()
    assert surface_voxels(hull)[tuple(voxels.T)].all()
    _, counts = voxels.unique(dim=0, return_counts=True)
    assert len(counts) == 56 and counts.min() >= 3 and counts.max() <= 4  # 200 points over 56 voxels


def test_an_empty_hull_has_no_surface(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="voxel"):
        sample_surface(torch.zeros(4, 4, 4, dtype=torch.bool), BOX, 10, generator)


def two_sided_images() -> tuple[torch.Tensor, torch.Tensor, Cameras]:
    """A ball seen from the front, where it is red, and from behind, where it is blue."""
    cameras = orbit_cameras([0.0, 180.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=64, height=64)
    alphas = ball_silhouettes(cameras)
    paint = torch.tensor([[1.0, 0, 0], [0, 0, 1]])[:, :, None, None]
    return paint * alphas, alphas, cameras


def ball_points(count: int = 40_000) -> torch.Tensor:
    directions = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    return RADIUS * torch.nn.functional.normalize(directions, dim=-1)


def test_points_take_the_color_of_the_side_that_sees_them() -> None:
    images, alphas, cameras = two_sided_images()
    points = ball_points()
    colors = color_points(points, images, alphas, cameras, torch.ones(2), tolerance=0.05)
    towards_front = points[:, 2] / RADIUS
    inner = points[:, :2].norm(dim=-1) < 0.85 * RADIUS  # clear of the outline, where a cell holds both sides
    torch.testing.assert_close(
        colors[inner & (towards_front > 0.3)].mean(0), torch.tensor([1.0, 0, 0]), atol=0.01, rtol=0
    )
    torch.testing.assert_close(
        colors[inner & (towards_front < -0.3)].mean(0), torch.tensor([0.0, 0, 1]), atol=0.01, rtol=0
    )


def test_colors_are_weighted_means_over_the_views() -> None:
    """A sheet seen from both sides."""
    images, alphas, cameras = two_sided_images()
    sheet = torch.cartesian_prod(torch.linspace(-0.1, 0.1, 9), torch.linspace(-0.1, 0.1, 9), torch.zeros(1))
    colors = color_points(sheet, images, alphas, cameras, torch.tensor([0.75, 0.25]), tolerance=0.05)
    torch.testing.assert_close(colors, torch.tensor([0.75, 0, 0.25]).expand(81, 3), atol=1e-5, rtol=0)


def test_points_that_no_view_sees_are_gray() -> None:
    images, alphas, cameras = two_sided_images()
    outside = torch.tensor([[0.6, 0.0, 0.0], [0.0, 5.0, 0.0], [0.4, 0.4, 0.0]])
    colors = color_points(outside, images, alphas, cameras, torch.ones(2), tolerance=0.05)
    assert colors.tolist() == [[0.5] * 3] * 3


def test_points_that_no_view_sees_may_keep_their_color() -> None:
    images, alphas, cameras = two_sided_images()
    points = torch.tensor([[0.6, 0.0, 0.0], [0.0, 0.0, RADIUS]])
    green = torch.tensor([0.0, 1.0, 0.0]).expand(2, 3)
    colors = color_points(points, images, alphas, cameras, torch.ones(2), tolerance=0.05, unseen=green)
    assert colors[0].tolist() == [0, 1, 0] and colors[1, 1] == 0


def test_voxels_outside_an_image_are_carved_unless_the_image_cuts_the_object_off() -> None:
    """The corners of the box are outside the narrow images."""
    cameras = orbit_cameras([0.0, 90.0], [0.0, 0.0], fovy_deg=20.0, distance=2.0, width=64, height=64)
    rows, columns = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    disc = ((rows.square() + columns.square()).sqrt() < 20).float().expand(2, 1, 64, 64)
    aabb = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    box = occupied_bounds(carve(disc, cameras, aabb, HullConfig(resolution=32)), aabb)
    assert box.abs().max() < 0.4

    cut_off = disc.roll(31, dims=-2)  # the masks touch the border: nothing is known outside
    box = occupied_bounds(carve(cut_off, cameras, aabb, HullConfig(resolution=32)), aabb)
    assert box.abs().max() == 1
