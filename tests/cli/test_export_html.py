"""`ds4d export --format html`: one page, refused where it would overwrite or would not be read."""

import base64
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.export.html import PackedFrames, unpack_frames
from ds4d.scene import DynamicGaussians
from ds4d.types import RawGaussians


def test_writes_one_page(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "object.html"
    outcome = ds4d("export", finished_run, "--format", "html", "-o", path)
    assert outcome.status == 0 and f"wrote {path}" in outcome.out and "open it in a browser" in outcome.out
    assert outcome.out.splitlines()[-1] == f"next: {sys.executable} -m webbrowser {path.as_uri()}"
    assert [each.name for each in path.parent.iterdir()] == ["object.html"]
    assert "<title>object</title>" in path.read_text(encoding="utf-8")


def held(path: Path) -> tuple[list[float], RawGaussians]:
    """The times of a page's frames, and the frames."""
    parts = re.findall(r'<script id="(scene|data)"[^>]*>(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    told, data = json.loads(dict(parts)["scene"]), dict(parts)["data"]
    numbers = [told[name] for name in ("numTimes", "numGaussians", "shBases")]
    ranges = [tuple(told[name]) for name in ("low", "step", "shLow", "shStep")]
    return told["times"], unpack_frames(PackedFrames(base64.b64decode(data), *numbers, *ranges))


def far_apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far all but a hundredth of the Gaussians stay within: a point at the edge of being seen may go either way."""
    return float((ours - theirs).abs().quantile(0.99))


def test_holds_the_frames_asked_for_and_a_loop(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.html"
    assert ds4d("export", finished_run, "--format", "html", "-o", path).status == 0
    times, frames = held(path)
    assert times == list(DynamicGaussians.load(finished_run).timeline.times)
    assert (frames.means[0] - frames.means[-1]).abs().max() > 0.004
    outcome = ds4d("export", finished_run, "--format", "html", "--frames", 9, "--loop", "-o", path, "--force")
    assert outcome.status == 0 and "loop: the end lies" in outcome.out
    times, frames = held(path)
    torch.testing.assert_close(torch.tensor(times), torch.linspace(0, 1, 9))
    assert far_apart(frames.means[0], frames.means[-1]) < 1e-3
    with torch.no_grad():
        between = DynamicGaussians.load(finished_run).raw_at(torch.tensor([0.125])).means[0]
    assert far_apart(frames.means[1], between) < 1e-3 < far_apart(frames.means[1], frames.means[0])


def test_writes_over_a_file_only_when_told(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.html"
    path.write_text("mine")
    refused = ds4d("export", finished_run, "--format", "html", "-o", path)
    assert refused.status == 2 and f"{path} must not exist yet" in refused.err and "--force" in refused.err
    assert path.read_text() == "mine"
    assert ds4d("export", finished_run, "--format", "html", "-o", path, "--force").status == 0
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_numbered_files_are_not_written_over_either(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    words = ["export", finished_run, "--times", 0, 1, "-o", tmp_path]
    (tmp_path / "frame0001.ply").write_text("mine")
    assert ds4d(*words).status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["frame0001.ply"], "nothing is written before the check"
    assert ds4d(*words, "--force").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "object.mp4"], "must end in .html"),
        (["-o", "page.html", "--sh-degree", 3], "--sh-degree must not be given with --format html"),
        (["-o", "page.html", "--up", "z"], "--up must not be given with --format html"),
    ],
)
def test_what_it_would_not_read_is_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = ds4d("export", finished_run, "--format", "html", *words)
    assert outcome.status == 2 and said in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_whole_run_is_refused(ds4d: Callable, tmp_path: Path) -> None:
    outcome = ds4d("export", tmp_path, "--format", "html", "-o", tmp_path / "page.html")
    assert outcome.status == 2 and "scene.json must exist" in outcome.err and not (tmp_path / "page.html").exists()
