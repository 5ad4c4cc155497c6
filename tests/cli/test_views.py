"""`ds4d views`, and `ds4d generate` on what it wrote and on the video itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.scene import DynamicGaussians


def test_views_are_written_and_fitted(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    written = ds4d("views", sample_folder / "front.mp4", "-o", tmp_path / "views", "--size", 48, "--inflate.facing", 60)
    assert written.status == 0, written.err
    assert "views: inflate (no weights needed" in written.out and "ds4d generate" in written.out
    made = {path.name for path in (tmp_path / "views").iterdir()}
    assert made == {"ref", "zero123", "rig.json", "clip.json", "points.ply", "contact_sheet.png"}
    fitted = ds4d("generate", tmp_path / "views", "-o", tmp_path / "run", *quick)
    assert fitted.status == 0, fitted.err
    assert "views: 7 views of the folder" in fitted.err and "init: the surface that comes with the views" in fitted.err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["views"] == 7
    assert DynamicGaussians.load(tmp_path / "run").timeline.duration == pytest.approx(0.5)  # as long as the video


def test_a_video_becomes_an_object(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("generate", sample_folder / "front.mp4", "-o", tmp_path / "run", "--frames", 4, *quick)
    assert outcome.status == 0, outcome.err
    for line in (
        "  views: inflate (no weights needed; weights of zero123plus not found, see ds4d weights)",
        "  features: filters",
        "  init: the surface that comes with the views",
    ):
        assert line in outcome.err.splitlines()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["frames"], metrics["views"], metrics["image_size"]) == (4, 7, [32, 32])
    box = json.loads((tmp_path / "run" / "video_crop.json").read_text())["box"]
    assert box["video_width"] == 48 and box["size"] == 32
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["video"]["frames"] == 4


def test_the_whole_way_is_the_two_steps(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    """First Gaussians of a video, and of the folder of its views, are the same up to rounding in files."""
    video = sample_folder / "front.mp4"
    ds4d("views", video, "-o", tmp_path / "views", "--size", 32)
    options = [*quick, "--training.static-steps", "0", "--training.dynamic-steps", "0"]
    for source, run in ((video, "one"), (tmp_path / "views", "two")):
        outcome = ds4d("generate", source, "-o", tmp_path / run, *options)
        assert outcome.status == 0, outcome.err
    one, two = (DynamicGaussians.load(tmp_path / run).gaussians for run in ("one", "two"))
    torch.testing.assert_close(one.means, two.means, atol=0.02, rtol=0)


def test_views_of_a_folder_are_its_fronts(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("views", sample_folder, "-o", tmp_path / "views", "--splits", "front", "--views", "inflate")
    assert outcome.status == 0, outcome.err
    rig = json.loads((tmp_path / "views" / "rig.json").read_text())
    assert rig[0]["fovy"] == pytest.approx(33.9, abs=1e-3) and rig[1]["azimuth"] == pytest.approx(30, abs=1e-3)
