"""`ds4d multiview`, and `ds4d generate` on its output and on the video itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.scene import DynamicGaussians


def test_views_are_written_and_fitted(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    views = ds4d("multiview", sample_folder / "front.mp4", "-o", tmp_path / "views", "--size", 48, "--views", "inflate")
    assert views.code == 0, views.err
    assert "views: inflate" in views.out and "next: ds4d generate" in views.out
    written = {path.name for path in (tmp_path / "views").iterdir()}
    assert written == {"ref", "zero123", "rig.json", "clip.json", "points.ply", "contact_sheet.png"}
    fitted = ds4d("generate", tmp_path / "views", "-o", tmp_path / "run", *quick)
    assert fitted.code == 0, fitted.err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["views"] == 7
    assert DynamicGaussians.load(tmp_path / "run").timeline.duration == pytest.approx(0.5)  # that of the video


def test_generate_makes_views_of_a_video(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    done = ds4d("generate", sample_folder / "front.mp4", "-o", tmp_path / "run", "--frames", 4, *quick)
    assert done.code == 0, done.err
    for start in ("  views: lift", "  features: filters", "  init: "):
        assert any(line.startswith(start) for line in done.err.splitlines()), start
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["frames"], metrics["views"], metrics["image_size"]) == (4, 7, [32, 32])
    box = json.loads((tmp_path / "run" / "video_crop.json").read_text())["box"]
    assert box["video_width"] == 48 and box["size"] == 32
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["video"]["frames"] == 4


def test_generating_views_first_makes_no_difference(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    """The initial Gaussians are the same up to the rounding of image files."""
    video = sample_folder / "front.mp4"
    ds4d("multiview", video, "-o", tmp_path / "views", "--size", 32)
    options = [*quick, "--training.static-steps", "0", "--training.dynamic-steps", "0"]
    for source, run in ((video, "one"), (tmp_path / "views", "two")):
        done = ds4d("generate", source, "-o", tmp_path / run, *options)
        assert done.code == 0, done.err
    one, two = (DynamicGaussians.load(tmp_path / run).gaussians for run in ("one", "two"))
    torch.testing.assert_close(one.means, two.means, atol=0.02, rtol=0)


def test_views_of_a_folder_are_those_of_its_input_view(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    done = ds4d("multiview", sample_folder, "-o", tmp_path / "views", "--splits", "front", "--views", "inflate")
    assert done.code == 0, done.err
    rig = json.loads((tmp_path / "views" / "rig.json").read_text())
    assert rig[0]["fovy"] == pytest.approx(33.9, abs=1e-3) and rig[1]["azimuth"] == pytest.approx(30, abs=1e-3)
