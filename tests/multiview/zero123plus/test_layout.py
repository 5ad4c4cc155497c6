"""How frames are shown, how grids are cut up, and where the cameras stand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ds4d.geometry import RIGS, orbit_cameras, project_points, rig_cameras
from ds4d.multiview.zero123plus.layout import condition_image, grid_cameras, input_camera, pad_to_video, split_grid
from ds4d.types import ArrayFrames, Cameras, Video


def input_video(width: int, height: int) -> Video:
    return Video(ArrayFrames(np.zeros((1, 1, height, width, 4), np.uint8)), fps=6.0)


def angles(cameras: Cameras) -> tuple[list[float], list[float], list[float]]:
    """Azimuths, elevations and distances from the origin."""
    places = cameras.centers
    azimuths = [round(math.degrees(math.atan2(x, z)) % 360, 3) % 360 for x, _, z in places.tolist()]
    distances = places.norm(dim=1)
    elevations = torch.rad2deg(torch.asin(places[:, 1] / distances))
    return azimuths, elevations.tolist(), distances.tolist()


def test_condition_images_are_squares_over_gray() -> None:
    frame = np.zeros((40, 60, 4), np.uint8)
    frame[10:30, 20:40] = (200, 100, 0, 255)
    frame[10:30, 40:50] = (100, 50, 0, 128)
    square = condition_image(frame, 60)
    assert square.shape == (60, 60, 3)
    assert (square[:10] == 127).all() and (square[50:] == 127).all() and (square[:, :20] == 127).all()
    np.testing.assert_array_equal(square[20:40, 20:40], np.broadcast_to([200, 100, 0], (20, 20, 3)))
    np.testing.assert_array_equal(square[30, 45], [163, 113, 63])  # half of it, half gray
    np.testing.assert_array_equal(condition_image(frame, 120)[60, 60], square[30, 30])


def test_views_lie_row_after_row_on_a_sheet() -> None:
    rows, columns = np.mgrid[:12, :8]
    grid = np.stack((rows // 4, columns // 4, rows * 0), -1).astype(np.uint8)
    views = split_grid(grid)
    assert views.shape == (6, 4, 4, 3)
    assert [tuple(view[0, 0, :2]) for view in views] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert all((view == view[:1, :1]).all() for view in views)


@pytest.mark.parametrize(("width", "height", "shape"), [(50, 50, (8, 8)), (60, 40, (8, 12)), (30, 60, (16, 8))])
def test_square_views_are_padded_to_the_aspect_ratio_of_the_video(
    width: int, height: int, shape: tuple[int, int]
) -> None:
    views = np.full((2, 6, 8, 8, 4), 9, np.uint8)
    shaped = pad_to_video(views, width, height)
    assert shaped.shape == (2, 6, *shape, 4) and shaped.sum() == views.sum()
    top, left = (shape[0] - 8) // 2, (shape[1] - 8) // 2
    assert (shaped[:, :, top : top + 8, left : left + 8] == 9).all()


def test_version_1_1_has_stag4ds_rig() -> None:
    cameras = grid_cameras(input_camera(input_video(320, 320)), "v1.1")
    expected = rig_cameras(RIGS["stag4d"], 320, 320)
    torch.testing.assert_close(cameras.viewmats, expected.viewmats, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cameras.Ks, expected.Ks)


@pytest.mark.parametrize(("version", "high", "low"), [("v1.1", 30, -20), ("v1.2", 20, -10)])
def test_azimuths_are_relative_to_the_input_camera_and_elevations_to_the_horizon(
    version: str, high: float, low: float
) -> None:
    azimuths, elevations, _ = angles(grid_cameras(input_camera(input_video(64, 64)), version))
    assert azimuths == pytest.approx([0, 30, 90, 150, 210, 270, 330], abs=1e-2)
    assert elevations == pytest.approx([0, *[high, low] * 3], abs=1e-3)
    own = orbit_cameras([40.0], [12.0], fovy_deg=33.9, distance=3.0, width=64, height=64)
    video = replace(input_video(64, 64), camera=own)
    azimuths, elevations, _ = angles(grid_cameras(input_camera(video), version))
    assert azimuths == pytest.approx([40, 70, 130, 190, 250, 310, 10], abs=1e-2)
    assert elevations == pytest.approx([12, *[high, low] * 3], abs=1e-3)


def test_version_1_2_has_30_degrees_and_the_given_zoom() -> None:
    front = input_camera(input_video(64, 64))
    extent = 2.0 * math.tan(math.radians(49.1 / 2))  # half of what the video shows at the object
    for nearer in (1.0, 1.5):
        cameras = grid_cameras(front, "v1.2", nearer)
        _, _, distances = angles(cameras)
        assert distances[1:] == pytest.approx([extent / math.tan(math.radians(15)) / nearer] * 6, rel=1e-5)
        fovy = 2 * math.degrees(math.atan(32 / float(cameras.Ks[1, 1, 1])))
        assert fovy == pytest.approx(30, abs=1e-4)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 96)])
@pytest.mark.parametrize("version", ["v1.1", "v1.2"])
def test_the_object_has_the_same_scale_in_video_and_views(version: str, width: int, height: int) -> None:
    """The networks see the square round the video; their square views lie whole within the video's shape."""
    cameras = grid_cameras(input_camera(input_video(width, height)), version)
    edge = 0.5 * cameras.viewmats[:, :3, :3].mT @ torch.tensor([1.0, 0.0, 0.0])  # half a unit to the image's right
    pixels = torch.stack([project_points(point[None], cameras)[0][view, 0] for view, point in enumerate(edge)])
    offsets = (pixels[:, 0] - width / 2) / (torch.tensor([max(width, height), *[min(width, height)] * 6]) / 2)
    assert offsets[0] == pytest.approx(0.5 / (2.0 * math.tan(math.radians(49.1 / 2))), rel=1e-5)
    torch.testing.assert_close(offsets[1:], offsets[:1].expand(6))
    torch.testing.assert_close(pixels[:, 1], torch.full((7,), height / 2))
