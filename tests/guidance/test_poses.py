"""Directions, relative poses, footprints, and square images."""

import math

import pytest
import torch
from torch import Tensor

from ds4d.geometry import RIGS, intrinsics, look_at, orbit_cameras, project_points, rig_cameras
from ds4d.guidance.poses import (
    FOVY_DEG,
    angles_deg,
    directions_of,
    distance_for,
    footprint,
    relative_poses,
    square_image,
)


def towards(azimuth: float, elevation: float) -> Tensor:
    return directions_of(torch.tensor(azimuth), torch.tensor(elevation))


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (100.0, 20.0), (-135.0, -40.0), (179.0, 85.0)])
def test_directions_and_angles_are_inverse(azimuth: float, elevation: float) -> None:
    camera = orbit_cameras([azimuth], [elevation], fovy_deg=40.0, distance=2.0, width=8, height=8)
    torch.testing.assert_close(camera.centers[0], 2 * towards(azimuth, elevation))
    found = angles_deg(camera.centers[0])
    torch.testing.assert_close(torch.stack(found), torch.tensor([azimuth, elevation]), rtol=1e-4, atol=1e-3)


def test_pose_of_the_same_camera() -> None:
    torch.testing.assert_close(relative_poses(towards(70.0, 20.0), towards(70.0, 20.0)), torch.tensor([0, 0, 1.0, 0]))


def test_rising_camera_has_a_decreasing_polar_angle() -> None:
    rise = relative_poses(towards(10.0, 5.0), towards(10.0, 35.0))
    torch.testing.assert_close(rise, torch.tensor([-math.radians(30), 0, 1.0, 0]))
    assert relative_poses(towards(0.0, 0.0), towards(0.0, -20.0))[0] > 0  # sinks


def test_camera_moving_right_has_a_positive_sine() -> None:
    """It sees the side of the object that was on the right before."""
    front, right = towards(0.0, 0.0), towards(30.0, 0.0)
    pose = relative_poses(front, right)
    torch.testing.assert_close(pose, torch.tensor([0, math.sin(math.pi / 6), math.cos(math.pi / 6), 0]))
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=64, height=64)
    pixels, _ = project_points((2 * right)[None] * 0.2, cameras)  # towards the new camera, in the first image
    assert pixels[0, 0, 0] > 32


def test_pose_depends_on_the_change_of_azimuth_only() -> None:
    first = relative_poses(towards(0.0, 10.0), towards(50.0, -10.0))
    later = relative_poses(towards(170.0, 10.0), towards(-140.0, -10.0))
    torch.testing.assert_close(first, later)


@pytest.mark.parametrize("name", RIGS)
def test_the_footprint_is_what_the_image_spans_at_the_origin(name: str) -> None:
    cameras = rig_cameras(RIGS[name], 64, 64)
    half = footprint(cameras.viewmats[0], cameras.Ks[0], 64, 64)
    front = RIGS[name][0]
    assert half == pytest.approx(front.distance * math.tan(math.radians(front.fovy / 2)), rel=1e-5)


def test_the_longer_side_decides() -> None:
    viewmat = look_at(torch.tensor([0.0, 0, 2]), torch.zeros(3))
    wide = footprint(viewmat, intrinsics(40.0, 120, 60), 120, 60)
    assert wide == pytest.approx(2 * 2 * math.tan(math.radians(20)))


def test_zero123s_camera_shows_the_same_at_its_own_field_of_view() -> None:
    """A front camera of another lens, and the distance from which 49.1 degrees show as much of the origin's plane."""
    half = footprint(*camera_of(fovy=20.0, distance=5.0), 64, 64)
    other = orbit_cameras([0.0], [0.0], fovy_deg=FOVY_DEG, distance=distance_for(half), width=64, height=64)
    corner = torch.tensor([[half, half, 0.0]])
    pixels, _ = project_points(corner, other)
    torch.testing.assert_close(pixels[0, 0], torch.tensor([64.0, 0.0]), atol=1e-3, rtol=0)
    assert distance_for(half) == pytest.approx(5 * math.tan(math.radians(10)) / math.tan(math.radians(24.55)))


def camera_of(*, fovy: float, distance: float, width: int = 64, height: int = 64) -> tuple[Tensor, Tensor]:
    return look_at(torch.tensor([0.0, 0, distance]), torch.zeros(3)), intrinsics(fovy, width, height)


def spot(width: int, height: int, x: int, y: int) -> Tensor:
    """An empty image with 4 x 4 opaque red pixels around a pixel corner."""
    rgba = torch.zeros(4, height, width)
    rgba[0, y - 2 : y + 2, x - 2 : x + 2] = 1
    rgba[3, y - 2 : y + 2, x - 2 : x + 2] = 1
    return rgba


def center_of_mass(image: Tensor) -> tuple[float, float]:
    """Center of the red pixels, as fractions of the image size."""
    red = (1 - image[1]).clamp_min(0)
    size = image.shape[-1]
    axis = (torch.arange(size) + 0.5) / size
    return float((red.sum(0) * axis).sum() / red.sum()), float((red.sum(1) * axis).sum() / red.sum())


def test_square_image_of_the_same_footprint_is_unchanged_on_white() -> None:
    viewmat, K = camera_of(fovy=40.0, distance=2.0)
    rgba = spot(64, 64, 40, 20)
    half = footprint(viewmat, K, 64, 64)
    image = square_image(rgba, viewmat, K, footprint=half, size=64)
    torch.testing.assert_close(image, rgba[:3] + (1 - rgba[3:]))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96)])
def test_shorter_side_is_padded_with_white(width: int, height: int) -> None:
    viewmat, K = camera_of(fovy=40.0, distance=2.0, width=width, height=height)
    half = footprint(viewmat, K, width, height)
    image = square_image(spot(width, height, width // 2, height // 2), viewmat, K, footprint=half, size=48)
    assert image.shape == (3, 48, 48)
    assert center_of_mass(image) == pytest.approx((0.5, 0.5), abs=0.01)
    rim = image[:, :4] if width > height else image[:, :, :4]
    assert (rim == 1).all()


def test_origin_is_centered_and_scaled_to_the_footprint() -> None:
    """A camera that looks past the origin."""
    eye = torch.tensor([0.3, -0.2, 3.0])
    viewmat, K = look_at(eye, torch.tensor([0.3, -0.2, 0.0])), intrinsics(40.0, 120, 90)
    points = torch.tensor([[0.0, 0, 0], [0.3, 0.15, 0]])
    x, y = ((viewmat[:3, :3] @ points.T + viewmat[:3, 3:]) / 3)[:2]
    pixels = torch.stack((K[0, 0] * x + 60, K[1, 1] * y + 45), dim=-1).round().int().tolist()
    at_origin, aside = (
        center_of_mass(square_image(spot(120, 90, *pixel), viewmat, K, footprint=0.6, size=120)) for pixel in pixels
    )
    assert at_origin == pytest.approx((0.5, 0.5), abs=0.02)
    assert aside == pytest.approx((0.5 + 0.3 / 1.2, 0.5 - 0.15 / 1.2), abs=0.02)
