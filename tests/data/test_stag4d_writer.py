"""Folders of generated views: read back as they were, written completely or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.data import FolderConfig, load_views, write_views
from ds4d.geometry import orbit_cameras
from ds4d.io import read_rgba
from ds4d.multiview.inflate import Inflate, InflateConfig
from ds4d.shapes import read_points
from ds4d.types import ArrayFrames, GeneratedViews, Video


@pytest.fixture(scope="module")
def views() -> GeneratedViews:
    images = np.zeros((2, 1, 24, 24, 4), np.uint8)
    images[:, :, 8:16, 6:18] = (200, 100, 50, 255)
    images[:, :, 8:16, 5] = (100, 50, 25, 128)
    camera = orbit_cameras([0.0], [15.0], fovy_deg=40.0, distance=3.0, width=24, height=24)
    return Inflate(InflateConfig(), torch.device("cpu")).generate(Video(ArrayFrames(images), 6.0, camera), seed=0)


def test_views_are_read_as_they_were(views: GeneratedViews, tmp_path: Path) -> None:
    write_views(views, tmp_path / "views", made_by="a test")
    clip, read = views.video, load_views(tmp_path / "views", FolderConfig())
    torch.testing.assert_close(read.cameras.viewmats, clip.cameras.viewmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(read.cameras.Ks, clip.cameras.Ks, atol=1e-4, rtol=0)
    assert torch.equal(read.view_weights, clip.view_weights) and read.view_names == clip.view_names
    assert read.duration == pytest.approx(clip.duration)
    for view in range(7):
        want = clip.frames.read(1, view).astype(int)
        want[want[..., 3] < 8] = 0  # fainter pixels are removed as haze
        assert np.abs(read.frames.read(1, view) - want).max() <= 1  # straight alpha is rounded once more


def test_points_are_read_as_they_were(views: GeneratedViews, tmp_path: Path) -> None:
    write_views(views, tmp_path / "views", made_by="a test")
    assert views.points is not None
    count = len(views.points.positions)
    positions, colors = read_points(tmp_path / "views" / "points.ply", count, torch.Generator().manual_seed(0))
    assert colors is not None and torch.equal(positions, views.points.positions)
    torch.testing.assert_close(colors, views.points.colors, atol=0.5 / 255 + 1e-6, rtol=0)


def test_the_contact_sheet_shows_all_views(views: GeneratedViews, tmp_path: Path) -> None:
    write_views(views, tmp_path, made_by="a test")
    sheet = read_rgba(tmp_path / "contact_sheet.png")
    assert sheet.shape[0] > 7 * 160 and sheet.shape[1] > 2 * 160


def test_without_points_there_is_no_file(views: GeneratedViews, tmp_path: Path) -> None:
    write_views(replace(views, points=None), tmp_path / "views", made_by="a test")
    assert not (tmp_path / "views" / "points.ply").exists()


def test_a_folder_in_use_is_refused_unchanged(views: GeneratedViews, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="new or empty"):
        write_views(views, tmp_path, made_by="a test")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_cameras_that_are_no_rig_are_refused_and_nothing_is_left(views: GeneratedViews, tmp_path: Path) -> None:
    cameras = views.video.cameras
    shifted = cameras.viewmats.clone()
    shifted[:, 3, 0, 3] += 0.1
    moved = replace(views.video, cameras=replace(cameras, viewmats=shifted))
    with pytest.raises(ValueError, match="view2"):
        write_views(replace(views, video=moved), tmp_path / "views", made_by="a test")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["{}", "[1]", '{"fps": "fast"}', '{"fps": 0}', "{"])
def test_a_damaged_clip_file_is_named(views: GeneratedViews, tmp_path: Path, content: str) -> None:
    write_views(views, tmp_path / "views", made_by="a test")
    (tmp_path / "views" / "clip.json").write_text(content)
    with pytest.raises(ValueError, match=r"clip\.json"):
        load_views(tmp_path / "views", FolderConfig())
    assert load_views(tmp_path / "views", FolderConfig(fps=2.0)).duration == 1.0
