"""Samples of maps at projected points, and visibility."""

import pytest
import torch
from torch import Tensor

from ds4d.fusion import PointSamples, project_to_images, sample_at_points, visibility
from ds4d.geometry import orbit_cameras, project_points
from ds4d.types import Cameras


@pytest.fixture
def cameras() -> Cameras:
    """Front and back."""
    return orbit_cameras([0.0, 180.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=64, height=48)


@pytest.fixture
def points(generator: torch.Generator) -> Tensor:
    return 0.6 * torch.rand(50, 3, generator=generator) - 0.3


def coordinate_maps(cameras: Cameras, h: int, w: int) -> Tensor:
    """Maps whose value is the pixel position of the cell's center."""
    y = (torch.arange(h) + 0.5) / h * cameras.height
    x = (torch.arange(w) + 0.5) / w * cameras.width
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])
    return grid.expand(cameras.num_views, 2, h, w)


@pytest.mark.parametrize(("h", "w"), [(48, 64), (12, 16), (7, 9)])
def test_points_sample_where_they_project(cameras: Cameras, points: Tensor, h: int, w: int) -> None:
    sampled, in_view = sample_at_points(coordinate_maps(cameras, h, w), points, cameras)
    pixels, _ = project_points(points, cameras)
    assert in_view.all()
    torch.testing.assert_close(sampled, pixels, atol=1e-3, rtol=0)


def test_times_are_sampled_independently(cameras: Cameras, generator: torch.Generator) -> None:
    maps = torch.randn(3, 2, 4, 6, 8, generator=generator)
    points = 0.4 * torch.rand(3, 20, 3, generator=generator) - 0.2
    sampled, in_view = sample_at_points(maps, points, cameras)
    assert sampled.shape == (3, 2, 20, 4) and in_view.shape == (3, 2, 20)
    for time in range(3):
        alone, _ = sample_at_points(maps[time], points[time], cameras)
        torch.testing.assert_close(sampled[time], alone)


def test_points_beside_the_image_or_behind_the_camera_are_not_in_view(cameras: Cameras) -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 5.0]])  # the last is behind the front camera
    _, in_view = sample_at_points(torch.zeros(2, 1, 4, 4), points, cameras)
    assert in_view.tolist() == [[True, False, False], [True, False, True]]


def test_gradients_reach_the_sampled_cells(cameras: Cameras) -> None:
    maps = torch.zeros(2, 1, 4, 4, requires_grad=True)
    sampled, _ = sample_at_points(maps, torch.zeros(1, 3), cameras)
    sampled.sum().backward()
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad.sum((-1, -2)), torch.ones(2, 1))
    assert (maps.grad[:, :, 1:3, 1:3] > 0).all() and not maps.grad[:, :, 0].any()


def test_points_behind_the_rendered_surface_are_hidden(cameras: Cameras) -> None:
    depths = torch.full((2, 1, 16, 16), 2.0)  # a wall through the origin, seen from both sides
    z = torch.tensor([0.3, 0.02, 0.0, -0.02, -0.3])
    points = torch.stack((torch.zeros(5), torch.zeros(5), z), dim=-1)
    front, back = visibility(depths, points, cameras, tolerance=0.04)
    assert front[:3].min() > 0.98 and front[4] < 1e-6
    torch.testing.assert_close(back, front.flip(0))
    edge = visibility(depths, torch.tensor([[0.0, 0.0, -0.04]]), cameras, tolerance=0.04)[0]
    torch.testing.assert_close(edge, torch.tensor([0.5]), atol=1e-3, rtol=0)


def test_points_behind_the_silhouette_are_hidden_up_to_its_edge() -> None:
    """A surface in one pixel of an empty image hides what is behind that pixel, up to the centers of its neighbors."""
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=53.13, distance=2.0, width=8, height=8)  # 0.25 per pixel at depth 2
    depths = torch.zeros(1, 1, 8, 8)
    depths[..., 4, 4] = 1.5
    x = torch.tensor([-0.2, -0.1, 0.01, 0.125, 0.24, 0.35, 0.45])
    points = torch.stack((x, torch.full_like(x, -0.125), torch.zeros_like(x)), dim=-1)
    assert visibility(depths, points, cameras, tolerance=0.03)[0].round().tolist() == [1, 0, 0, 0, 0, 0, 1]


def test_slanted_surfaces_do_not_hide_their_own_points(cameras: Cameras) -> None:
    x = torch.linspace(-0.4, 0.4, 9)
    points = torch.stack((x, torch.zeros(9), 0.8 * x), dim=-1)
    columns = (torch.arange(64) + 0.5 - 32) / cameras.Ks[0, 0, 0]
    depths = 2 / (1 + 0.8 * columns)  # of the plane z = 0.8 x, from the front
    visible = visibility(depths.expand(2, 1, 48, 64), points, cameras, tolerance=0.03)[0]
    assert visible.min() > 0.97


def test_nothing_is_hidden_where_nothing_is_rendered(cameras: Cameras, points: Tensor) -> None:
    assert visibility(torch.zeros(2, 1, 16, 16), points, cameras, tolerance=0.03).min() > 0.999


def test_points_outside_the_image_are_invisible(cameras: Cameras) -> None:
    visible = visibility(torch.zeros(2, 1, 16, 16), torch.tensor([[3.0, 0.0, 0.0]]), cameras, tolerance=0.03)
    assert not visible.any()


@pytest.fixture
def maps_and_points(cameras: Cameras, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Maps of three times and two views, and points."""
    return torch.randn(3, 2, 4, 6, 8, generator=generator), torch.rand(3, 20, 3, generator=generator) - 0.5


def test_samples_on_demand_equal_all_samples(cameras: Cameras, maps_and_points: tuple[Tensor, Tensor]) -> None:
    maps, points = maps_and_points
    samples, in_view = sample_at_points(maps, points, cameras)
    positions, inside, _ = project_to_images(points, cameras)
    on_demand = PointSamples(maps, positions)
    assert on_demand.num_views == 2 and torch.equal(inside, in_view)
    torch.testing.assert_close(on_demand.of_view(1), samples[:, 1])
    weight = torch.tensor([0.5, -1.0, 2.0, 0.1])
    torch.testing.assert_close(on_demand.scores(weight), samples @ weight)
    weights = torch.stack((torch.linspace(0, 1, 20), torch.linspace(2, -1, 20))).expand(3, 2, 20)
    torch.testing.assert_close(on_demand.weighted_sum(weights), (samples * weights[..., None]).sum(1))
    torch.testing.assert_close(
        on_demand.generated_views().weighted_sum(weights[:, 1:]), samples[:, 1] * weights[:, 1, :, None]
    )


# A kernel computes the sum over the views in single precision, torch in double.
both_implementations = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@both_implementations
def test_gradients_of_weighted_sum(
    cameras: Cameras, maps_and_points: tuple[Tensor, Tensor], dtype: torch.dtype
) -> None:
    maps, positions = maps_and_points[0].to(dtype), project_to_images(maps_and_points[1], cameras)[0].to(dtype)
    weights = torch.linspace(0.1, 2, 3 * 2 * 20, dtype=dtype).reshape(3, 2, 20).requires_grad_()
    maps.requires_grad_()
    on_demand = PointSamples(maps, positions)
    samples = torch.stack([on_demand.of_view(view) for view in range(2)], dim=1)
    expected = torch.autograd.grad((samples * weights[..., None]).sum(1).square().sum(), (maps, weights))
    found = torch.autograd.grad(PointSamples(maps, positions).weighted_sum(weights).square().sum(), (maps, weights))
    torch.testing.assert_close(found, expected)


@both_implementations
def test_samples_are_not_kept_for_the_gradient(
    cameras: Cameras, generator: torch.Generator, dtype: torch.dtype
) -> None:
    maps = torch.randn(2, 4, 6, 8, generator=generator, dtype=dtype).requires_grad_()
    positions, _, _ = project_to_images(torch.rand(500, 3, generator=generator) - 0.5, cameras)
    positions, weights = positions.to(dtype), torch.ones(2, 500, dtype=dtype, requires_grad=True)
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        PointSamples(maps, positions).weighted_sum(weights)
    assert sum(kept) < 2 * 500 * 4
