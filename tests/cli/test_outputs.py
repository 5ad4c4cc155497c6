"""Outputs that cannot be made are refused before any work: here before an absent run or a broken input is read."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A folder with files that a command must not replace."""
    folder = tmp_path / "taken"
    folder.mkdir()
    for name in ("a.mp4", "a.png", "a.ply", "a.html", "frame0001.png", "frame0001.ply"):
        (folder / name).write_text("mine")
    return folder


RENDER, STILL = ("render", "RUN", "--orbit"), ("render", "RUN", "--azimuth", "0", "--time", "0")
EXPORT = ("export", "RUN")


@pytest.mark.parametrize(
    ("argv", "output", "said"),
    [
        # A file where a folder is needed, at the end of the path or on the way.
        *(
            (argv, "a.mp4/out", "--output")
            for argv in (RENDER, STILL, EXPORT, ("generate", "IN"), ("multiview", "IN"), ("ablate", "IN"))
        ),
        (("check", "IN"), "a.mp4/out", "--output"),
        # Another kind than the path is of.
        ((*EXPORT, "--format", "html"), ".", "--output must be a file"),
        (("generate", "IN"), "a.mp4", "--output must be a folder"),
        # Endings.
        (RENDER, "a.xyz", "--output must end in"),
        (RENDER, "new.png", "--output must be a video or a folder"),
        (("render", "RUN", "--over", "IN"), "new.webm", "--output must end in"),
        (EXPORT, "new.xyz", "--output .*must end in"),
        ((*EXPORT, "--format", "html"), "new.ply", "--output .*must end in .html"),
        ((*EXPORT, "--format", "ply"), "new.html", "--output .*must end in .ply"),
        ((*EXPORT, "--frames", "2"), "new.ply", "--output .*must be a folder for 2 times"),
        # Existing files.
        (RENDER, "a.mp4", "--force"),
        (RENDER, "", "frame0001.png.*--force"),
        (STILL, "a.png", "--force"),
        (("render", "RUN", "--over", "IN"), "a.mp4", "--force"),
        (EXPORT, "a.html", "--force"),
        ((*EXPORT, "--times", "0"), "a.ply", "--force"),
        (EXPORT, "", "frame0001.ply.*--force"),
        (("generate", "IN"), "", "must be a new or empty folder"),
        (("multiview", "IN"), "", "--output must be a new or empty folder"),
    ],
)
def test_outputs_are_checked_first(
    ds4d: Callable, taken: Path, tmp_path: Path, argv: tuple[str, ...], output: str, said: str
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    names = {"RUN": tmp_path / "absent", "IN": tmp_path / "broken.mp4"}
    before = sorted(tmp_path.rglob("*"))
    done = ds4d(*(names.get(word, word) for word in argv), "-o", taken / output)
    assert done.code == 2
    assert re.search(said, done.err), done.err
    assert "absent" not in done.err and "broken" not in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_existing_images_of_a_transforms_file_are_kept(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    transforms = sample_folder / "transforms_test.json"
    first = json.loads(transforms.read_text())["frames"][0]["file_path"]
    image = tmp_path / f"{first}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_text("mine")
    done = ds4d("render", tmp_path / "absent", "--transforms", transforms, "-o", tmp_path)
    assert done.code == 2 and "--force" in done.err and "absent" not in done.err


def test_a_sample_replaces_nothing_else(ds4d: Callable, taken: Path) -> None:
    done = ds4d("sample", taken)
    assert done.code == 2 and "must be a new or empty folder" in done.err
    assert (taken / "a.mp4").read_text() == "mine" and not list(taken.parent.glob(".*"))
