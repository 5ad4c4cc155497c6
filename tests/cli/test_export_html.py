"""`ds4d export --format html`."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.export.html import PackedFrames, unpack_frames
from ds4d.scene import DynamicGaussians
from ds4d.types import RawGaussians


def test_one_page_is_written(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "object.html"
    done = ds4d("export", finished_run, "--format", "html", "-o", path)
    assert done.code == 0 and f"wrote {path}" in done.out
    assert done.out.splitlines()[-1] == f"next: open {path} in a browser"
    assert [each.name for each in path.parent.iterdir()] == ["object.html"]
    assert "<title>object</title>" in path.read_text(encoding="utf-8")


def content(path: Path) -> tuple[list[float], RawGaussians]:
    """The times and the frames in a page."""
    parts = re.findall(r'<script id="(scene|data)"[^>]*>(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    header, data = json.loads(dict(parts)["scene"]), dict(parts)["data"]
    numbers = [header[name] for name in ("numTimes", "numGaussians", "shBases")]
    ranges = [tuple(header[name]) for name in ("low", "step", "shLow", "shStep")]
    return header["times"], unpack_frames(PackedFrames(base64.b64decode(data), *numbers, *ranges))


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The 99th percentile of the distances: a Gaussian at the threshold of visibility may be in or out."""
    return float((ours - theirs).abs().quantile(0.99))


def test_the_page_holds_given_frames_and_a_loop(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.html"
    assert ds4d("export", finished_run, "--format", "html", "-o", path).code == 0
    times, frames = content(path)
    assert times == list(DynamicGaussians.load(finished_run).timeline.times)
    assert (frames.means[0] - frames.means[-1]).abs().max() > 0.004
    done = ds4d("export", finished_run, "--format", "html", "--frames", 9, "--loop", "-o", path, "--force")
    assert done.code == 0 and "loop: " in done.out
    times, frames = content(path)
    torch.testing.assert_close(torch.tensor(times), torch.linspace(0, 1, 9))
    assert distance(frames.means[0], frames.means[-1]) < 1e-3
    with torch.no_grad():
        between = DynamicGaussians.load(finished_run).raw_at(torch.tensor([0.125])).means[0]
    assert distance(frames.means[1], between) < 1e-3 < distance(frames.means[1], frames.means[0])


def test_an_existing_page_needs_force(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.html"
    path.write_text("mine")
    refused = ds4d("export", finished_run, "--format", "html", "-o", path)
    assert refused.code == 2 and str(path) in refused.err and "--force" in refused.err
    assert path.read_text() == "mine"
    assert ds4d("export", finished_run, "--format", "html", "-o", path, "--force").code == 0
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_existing_numbered_files_need_force(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["export", finished_run, "--times", 0, 1, "-o", tmp_path]
    (tmp_path / "frame0001.ply").write_text("mine")
    assert ds4d(*argv).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["frame0001.ply"], "nothing is written before the check"
    assert ds4d(*argv, "--force").code == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["-o", "object.mp4"], "--output"),
        (["-o", "page.html", "--sh-degree", 3], "--sh-degree"),
        (["-o", "page.html", "--up", "z"], "--up"),
    ],
)
def test_options_without_effect_are_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ds4d("export", finished_run, "--format", "html", *options)
    assert done.code == 2 and f"error: {name} " in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_is_refused(ds4d: Callable, tmp_path: Path) -> None:
    done = ds4d("export", tmp_path, "--format", "html", "-o", tmp_path / "page.html")
    assert done.code == 2 and "scene.json" in done.err and not (tmp_path / "page.html").exists()
