"""Cameras in world space: where they are, what they look at, their conventions."""

import math

import pytest
import torch

from ds4d.api import Camera
from ds4d.geometry import opencv_to_opengl, orbit_cameras, project_points
from ds4d.types import Cameras


def pixel(camera: Camera, point: list[float]) -> tuple[list[float], float]:
    """Image coordinates and depth of a point."""
    pixels, depths = project_points(torch.tensor([point]), camera.cameras)
    return pixels.flatten().tolist(), float(depths)


@pytest.mark.parametrize("up", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.3, 0.5, 2.0)])
def test_look_at_sees_the_target_in_the_center_and_up_above_it(up: tuple[float, ...]) -> None:
    eye, target = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 0.25, 0.0])
    camera = Camera.look_at(eye.tolist(), target.tolist(), up=up, width=200, height=100)
    (x, y), depth = pixel(camera, target.tolist())
    assert (x, y) == pytest.approx((100, 50), abs=1e-3)
    assert depth == pytest.approx(float((eye - target).norm()), abs=1e-5)
    (x, y), _ = pixel(camera, (target + 0.1 * torch.tensor(up)).tolist())
    assert x == pytest.approx(100, abs=1e-3) and y < 50


def test_field_of_view_is_vertical() -> None:
    camera = Camera.look_at((0, 0, 2), fovy_deg=60.0, width=80, height=40)
    (_, y), _ = pixel(camera, [0.0, 2 * math.tan(math.radians(30)), 0.0])
    assert y == pytest.approx(0, abs=1e-4)


def test_orbit_has_the_angles_of_the_command_line() -> None:
    right = Camera.orbit(90.0, distance=3.0)
    assert pixel(right, [3.0, 0.0, 0.0])[1] == pytest.approx(0, abs=1e-5)
    above = Camera.orbit(0.0, 90.0, distance=2.0, target=(1.0, 0.0, 0.0))
    assert pixel(above, [1.0, 2.0, 0.0])[1] == pytest.approx(0, abs=1e-5)
    expected = orbit_cameras([30.0], [10.0], fovy_deg=40.0, distance=2.0, width=512, height=512)
    torch.testing.assert_close(Camera.orbit(30.0, 10.0).viewmat, expected.viewmats[0])


@pytest.mark.parametrize("rows", [3, 4])
def test_from_opengl_takes_camera_to_world_matrices(rows: int) -> None:
    camera = Camera.look_at((1.0, 2.0, 3.0), width=64, height=48)
    camtoworld = opencv_to_opengl(camera.viewmat)
    again = Camera.from_opengl(camtoworld[:rows].numpy(), camera.K.tolist(), 64, 48)
    torch.testing.assert_close(again.viewmat, camera.viewmat)
    torch.testing.assert_close(again.K, camera.K)


def test_resized_keeps_the_vertical_field_of_view_and_square_pixels() -> None:
    camera = Camera.look_at((0, 0, 2), width=100, height=100).resized(80, 40)
    assert (camera.width, camera.height) == (80, 40)
    torch.testing.assert_close(camera.K, Camera.look_at((0, 0, 2), width=80, height=40).K)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="eye"):
        Camera.look_at((1, 2, 3), (1, 2, 3))
    with pytest.raises(ValueError, match="target must be three numbers"):
        Camera.look_at((1, 2, 3), (1, 2))
    with pytest.raises(ValueError, match="up"):
        Camera.look_at((1, 2, 3), up=(0, 0, 0))
    two = orbit_cameras([0.0, 90.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    with pytest.raises(ValueError, match="one camera"):
        Camera.of(Cameras(two.viewmats, two.Ks, 8, 8))
