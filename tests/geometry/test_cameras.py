"""Camera conventions, tested by where known points land in the image."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.geometry import intrinsics, look_at, opencv_to_opengl, opengl_to_opencv, orbit_cameras, project_points
from ds4d.types import Cameras

X, Y, Z = torch.eye(3).unbind()


def orbit(azimuth: float, elevation: float = 0.0, **changes: float) -> Cameras:
    """One camera two units from the origin, 100 x 80 pixels."""
    settings = {"fovy_deg": 40.0, "distance": 2.0, "width": 100, "height": 80, **changes}
    return orbit_cameras([float(azimuth)], [float(elevation)], **settings)


def center(viewmat: torch.Tensor) -> torch.Tensor:
    return torch.linalg.inv(viewmat)[:3, 3]


def project(point: torch.Tensor, cameras: Cameras) -> tuple[float, float, float]:
    """Pixel column, pixel row and depth of one point in the first view."""
    pixels, depths = project_points(point[None], cameras)
    return *pixels[0, 0].tolist(), depths[0, 0].item()


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0, 0, [0, 0, 2]),
        (90, 0, [2, 0, 0]),
        (180, 0, [0, 0, -2]),
        (270, 0, [-2, 0, 0]),
        (0, 90, [0, 2, 0]),
        (0, -90, [0, -2, 0]),
        (90, 30, [2 * math.cos(math.radians(30)), 1, 0]),
    ],
)
def test_azimuth_goes_from_z_to_x_and_elevation_up(azimuth: float, elevation: float, expected: list[float]) -> None:
    torch.testing.assert_close(
        center(orbit(azimuth, elevation).viewmats[0]), torch.tensor(expected).float(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (75, 20), (200, -45), (30, 90), (10, -90)])
def test_the_target_is_in_the_middle_of_the_image(azimuth: float, elevation: float) -> None:
    cameras = orbit(azimuth, elevation, target=(0.3, -0.2, 0.1))
    rotation = cameras.viewmats[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1)
    assert project(torch.tensor([0.3, -0.2, 0.1]), cameras) == pytest.approx((50, 40, 2), abs=1e-4)


def test_from_the_front_x_is_right_y_is_up_and_z_is_near() -> None:
    column, row, depth = project(0.1 * X, orbit(0))
    assert (column > 50, row, depth) == (True, pytest.approx(40), pytest.approx(2))
    column, row, depth = project(0.1 * Y, orbit(0))
    assert (column, row < 40, depth) == (pytest.approx(50), True, pytest.approx(2))
    assert project(0.1 * Z, orbit(0)) == pytest.approx((50, 40, 1.9))


def test_from_azimuth_90_the_front_is_on_the_left() -> None:
    """A camera on +x sees +z, the side that the front camera stands on, to its left."""
    column, _, depth = project(0.1 * Z, orbit(90))
    assert column < 50 and depth == pytest.approx(2)
    assert project(0.1 * X, orbit(90))[2] == pytest.approx(1.9)


def test_from_above_the_top_is_nearer() -> None:
    assert project(0.1 * Y, orbit(0, 30))[2] < 2 < project(0.1 * Y, orbit(0, -30))[2]


def test_fovy_is_the_full_vertical_angle() -> None:
    top = 2 * math.tan(math.radians(20)) * Y
    assert project(top, orbit(0)) == pytest.approx((50, 0, 2), abs=1e-4)


def test_pixels_are_square_whatever_the_shape_of_the_image() -> None:
    wide = intrinsics(40.0, 200, 80)
    assert wide[0, 0] == wide[1, 1] == intrinsics(40.0, 80, 80)[1, 1]
    assert wide[:2, 2].tolist() == [100, 40]


@pytest.mark.parametrize("fovy_deg", [0.0, -10.0, 180.0, float("nan")])
def test_impossible_fields_of_view_are_refused(fovy_deg: float) -> None:
    with pytest.raises(ValueError, match="fovy_deg"):
        intrinsics(fovy_deg, 10, 10)


def test_orbits_need_as_many_elevations_as_azimuths() -> None:
    with pytest.raises(ValueError):
        orbit_cameras([0.0, 90.0], [0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)


def test_look_at_keeps_y_up() -> None:
    viewmat = look_at(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0]))
    assert (viewmat[:3, :3] @ Y)[1] < 0  # +y of the world points to smaller rows
    assert (viewmat[:3, :3] @ Y)[0].item() == pytest.approx(0, abs=1e-6)  # and the horizon is level


def test_opengl_cameras_look_along_minus_z() -> None:
    """A camera-to-world matrix as Blender writes it: four units up the z axis, axes those of the world."""
    camtoworld = torch.eye(4)
    camtoworld[2, 3] = 4.0
    cameras = Cameras(opengl_to_opencv(camtoworld)[None], intrinsics(40.0, 100, 80)[None], 100, 80)
    assert project(torch.zeros(3), cameras) == pytest.approx((50, 40, 4))
    assert project(X, cameras)[0] > 50
    assert project(Y, cameras)[1] < 40
    assert project(Z, cameras)[2] == pytest.approx(3)


def test_opengl_round_trip(tiny_cameras: Cameras) -> None:
    camtoworlds = opencv_to_opengl(tiny_cameras.viewmats)
    torch.testing.assert_close(camtoworlds[:, :3, 3], torch.stack([center(v) for v in tiny_cameras.viewmats]))
    torch.testing.assert_close(opengl_to_opencv(camtoworlds), tiny_cameras.viewmats)


def test_orbits_equal_the_cameras_of_another_renderer(data_dir: Path) -> None:
    """The data set's matrices were written by the renderer that made its images."""
    frames = json.loads((data_dir / "gltf/fox-run-turn60/transforms_mv.json").read_text())["frames"][:6]
    azimuths, elevations = ([float(frame[key]) for frame in frames] for key in ("azimuth", "elevation"))
    ours = orbit_cameras(azimuths, elevations, fovy_deg=33.9, distance=2.0, width=256, height=256)
    theirs = opengl_to_opencv(torch.tensor([frame["transform_matrix"] for frame in frames]))
    torch.testing.assert_close(ours.viewmats, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("index", [0, 11])
def test_surface_points_project_into_the_masks(data_dir: Path, index: int) -> None:
    """Points tracked on the model's surface, seen by the file's cameras, lie where its images are covered."""
    folder = data_dir / "gltf/fox-run-turn60"
    transforms = json.loads((folder / "transforms_mv.json").read_text())
    frames = [frame for frame in transforms["frames"] if frame["frame"] == index]
    viewmats = opengl_to_opencv(torch.tensor([frame["transform_matrix"] for frame in frames]))
    Ks = intrinsics(math.degrees(transforms["camera_angle_x"]), 256, 256).expand(len(frames), 3, 3)
    points = torch.from_numpy(np.load(folder / "points.npy")[index].astype(np.float32))
    pixels, _ = project_points(points, Cameras(viewmats, Ks, 256, 256))
    for frame, (columns, rows) in zip(frames, pixels.floor().int().mT, strict=True):
        alpha = np.asarray(Image.open(folder / frame["image"]))[..., 3]
        assert (alpha[rows, columns] > 0).mean() > 0.99
