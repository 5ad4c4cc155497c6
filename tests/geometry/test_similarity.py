"""Between world space and normalized space, and what a set of cameras looks at."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from ds4d.geometry import (
    camera_focus,
    fit_into_ball,
    inverse_similarity,
    orbit_cameras,
    project_points,
    quats_to_matrices,
    transform_cameras,
    transform_points,
)
from ds4d.types import Cameras, Similarity


@pytest.fixture
def similarity() -> Similarity:
    rotation = quats_to_matrices(torch.tensor([0.5, -0.3, 0.7, 0.2]))
    return Similarity(2.5, rotation, torch.tensor([0.3, -1.0, 0.2]))


def test_static_cameras_remain_static(similarity: Similarity, tiny_cameras: Cameras) -> None:
    static = tiny_cameras.expand_times(9)
    inner = transform_cameras(similarity, static)
    assert inner.is_static and inner.viewmats.shape == static.viewmats.shape
    assert torch.equal(inner.viewmats[4], transform_cameras(similarity, tiny_cameras).viewmats)


def test_a_known_similarity() -> None:
    quarter_turn_about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    similarity = Similarity(2.0, quarter_turn_about_z, torch.tensor([0.0, 0, 1]))
    moved = transform_points(similarity, torch.tensor([[1.0, 0, 0], [0, 3, 0]]))
    assert moved.tolist() == [[0, 2, 1], [-6, 0, 1]]


def test_the_inverse_undoes_it(similarity: Similarity, generator: torch.Generator) -> None:
    points = torch.randn(2, 4, 3, generator=generator)
    back = transform_points(inverse_similarity(similarity), transform_points(similarity, points))
    torch.testing.assert_close(back, points, atol=1e-6, rtol=1e-5)


def test_identity_changes_nothing(tiny_cameras: Cameras, generator: torch.Generator) -> None:
    points = torch.randn(4, 3, generator=generator)
    assert torch.equal(transform_points(Similarity.identity(), points), points)
    assert torch.equal(transform_cameras(Similarity.identity(), tiny_cameras).viewmats, tiny_cameras.viewmats)


def test_transforming_object_and_cameras_keeps_the_image(
    similarity: Similarity, tiny_cameras: Cameras, generator: torch.Generator
) -> None:
    points = 0.4 * torch.randn(6, 3, generator=generator)
    pixels, depths = project_points(points, tiny_cameras)
    inner = transform_cameras(similarity, tiny_cameras)
    inner_pixels, inner_depths = project_points(transform_points(similarity, points), inner)
    torch.testing.assert_close(inner_pixels, pixels, atol=1e-3, rtol=0)
    torch.testing.assert_close(inner_depths, similarity.scale * depths)
    rotations = inner.viewmats[:, :3, :3]
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(3, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("up", [None, [0.0, 0.0, 2.0], [0.0, -1.0, 0.0], [0.3, -0.5, 0.1]])
def test_the_corners_of_a_box_are_on_the_ball(up: list[float] | None) -> None:
    aabb = torch.tensor([[-1.0, 2.0, 0.0], [3.0, 2.5, 1.0]])
    similarity = fit_into_ball(aabb, 0.5, None if up is None else torch.tensor(up))
    corners = torch.cartesian_prod(*aabb.T)
    torch.testing.assert_close(transform_points(similarity, corners).norm(dim=-1), torch.full((8,), 0.5))


@given(st.floats(0, math.pi), st.floats(-math.pi, math.pi))
def test_any_up_becomes_plus_y(polar: float, azimuth: float) -> None:
    up = torch.tensor(
        [math.sin(polar) * math.sin(azimuth), math.cos(polar), math.sin(polar) * math.cos(azimuth)],
        dtype=torch.float32,
    )
    rotation = fit_into_ball(torch.tensor([[-1.0, -1, -1], [1, 1, 1]]), 0.5, up).rotation
    torch.testing.assert_close(rotation @ up, torch.tensor([0.0, 1, 0]), atol=2e-5, rtol=0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("off_by", [1e-5, 1e-4, 1e-3, 2e-3, 1e-2])
def test_up_is_exact_where_it_nearly_points_down(off_by: float) -> None:
    up = torch.tensor([math.sin(off_by), -math.cos(off_by), 0.0])
    rotation = fit_into_ball(torch.tensor([[-1.0, -1, -1], [1, 1, 1]]), 0.5, up).rotation
    torch.testing.assert_close(rotation @ up, torch.tensor([0.0, 1, 0]), atol=2e-5, rtol=0)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)


def test_a_box_without_extent_is_only_moved_to_the_origin() -> None:
    similarity = fit_into_ball(torch.full((2, 3), 0.25), 0.5)
    assert math.isfinite(similarity.scale)
    assert transform_points(similarity, torch.full((3,), 0.25)).tolist() == [0, 0, 0]


def test_focus_of_an_orbit_is_its_target() -> None:
    target = (0.5, -1.0, 2.0)
    cameras = orbit_cameras(
        [0.0, 80.0, 200.0], [10.0, -20.0, 40.0], fovy_deg=40.0, distance=3.0, width=60, height=60, target=target
    )
    focus, radius = camera_focus(cameras)
    torch.testing.assert_close(focus, torch.tensor(target), atol=1e-5, rtol=0)
    assert radius == pytest.approx(3 * math.sin(math.radians(20)), rel=1e-5)


def test_focus_radius_is_that_of_the_narrow_side(tiny_cameras: Cameras) -> None:
    Ks = tiny_cameras.Ks.clone()
    Ks[:, 0, 2] = 10.0  # the middle
    upright = Cameras(tiny_cameras.viewmats, Ks, 20, 32)
    _, radius = camera_focus(upright)
    half_width = 10 / tiny_cameras.Ks[0, 0, 0].item()
    assert radius == pytest.approx(2 * math.sin(math.atan(half_width)), rel=1e-5)


def test_focus_of_a_moving_camera_uses_all_its_times(tiny_cameras: Cameras) -> None:
    moving = tiny_cameras[:, None]
    torch.testing.assert_close(camera_focus(moving)[0], torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_parallel_axes_focus_one_unit_ahead(count: int) -> None:
    cameras = orbit_cameras([90.0] * count, [0.0] * count, fovy_deg=40.0, distance=3.0, width=8, height=8)
    torch.testing.assert_close(camera_focus(cameras)[0], torch.tensor([2.0, 0, 0]), atol=1e-6, rtol=0)


def test_focus_of_images_that_were_cropped_is_in_the_middle_of_the_crops() -> None:
    """Cameras that look past the object, cropped around it: the ball is around the object."""
    place = torch.tensor([0.3, -0.2, 0.1])
    cameras = orbit_cameras([0.0, 60.0, 200.0], [10.0, 0.0, 20.0], fovy_deg=40.0, distance=3.0, width=64, height=64)
    seen = project_points(place[None], cameras)[0][:, 0]
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += 16 - seen[:, :2]
    focus, radius = camera_focus(Cameras(cameras.viewmats, Ks, 32, 32))
    torch.testing.assert_close(focus, place, atol=1e-4, rtol=0)
    assert 0.3 < radius < 0.6
