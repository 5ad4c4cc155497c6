import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ds4d.cli.generate import parse
from ds4d.io import image_size, write_png
from ds4d.preprocess import VideoConfig
from ds4d.presets import PRESETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight frames of a square that walks right, with alpha."""
    for time in range(8):
        rgba = np.zeros((60, 80, 4), np.uint8)
        rgba[20:50, 10 + 2 * time : 40 + 2 * time] = (180, 60, 40, 255)
        write_png(tmp_path / "frames" / f"{time}.png", rgba)
    return tmp_path / "frames"


def test_a_good_video_is_said_to_be_good(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("check", str(folder), "-o", str(tmp_path / "out"), "--size", "64", "--fps", "8")
    assert outcome.status == 0, outcome.err
    *lines, forecast, wrote, then = outcome.out.splitlines()
    assert lines == [
        "video: 8 frames of 80 x 60; 8 used, 8 per second, from 0.00 s to 0.88 s",
        "cut out by the video's alpha",
        "crop: the square of 52 pixels at (6, 9), resized to 64",
        "nothing wrong was found",
    ]
    assert re.fullmatch(r"a run with the preset (cpu|fast) on \w+ takes about \d+ \w+ and \d\.\d GiB .*", forecast)
    assert wrote == f"wrote {tmp_path / 'out' / 'check.png'}"
    assert then == f"next: ds4d generate {folder} -o run --fps 8.0 --size 64"
    assert image_size(tmp_path / "out" / "check.png")[0] > 8 * 192


def test_what_is_useful_next_asks_for_the_video_as_it_was_checked(ds4d: Callable, folder: Path) -> None:
    options = ["--preset", "tiny", "--start", "0.1", "--size", "64", "--matting", "alpha", "--keep", "all"]
    said = ds4d("check", folder, *options).out.splitlines()[-1]
    words = shlex.split(said.removeprefix("next: ds4d generate "))
    checked = VideoConfig(start=0.1, size=64, matting="alpha", keep="all")
    asked = parse(words).settings
    assert replace(asked.video, size=asked.views.size) == checked
    assert replace(asked, views=PRESETS["tiny"]().views, video=VideoConfig()) == PRESETS["tiny"]()
    assert ds4d("check", folder).out.endswith(f"next: ds4d generate {folder} -o run\n")


def test_warnings_leave_a_video_fit(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("check", str(folder), "--frames", "3", "--size", "64")
    assert outcome.status == 0
    assert "warning: There are only 3 frames." in outcome.out
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_an_unfit_video_is_refused_and_shown(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    write_png(folder / "8.png", np.zeros((60, 80, 4), np.uint8))
    outcome = ds4d("check", str(folder), "-o", str(tmp_path / "out"), "--size", "64")
    assert outcome.status == 2
    assert "fatal: The object is missing in 1 of 9 frames (at 0.33 s)." in outcome.out
    assert (tmp_path / "out" / "check.png").is_file()
    assert f"ds4d: error: {folder} is not fit for use." in outcome.err and "next:" not in outcome.out


def test_what_is_no_video_is_one_line(ds4d: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    outcome = ds4d("check", str(tmp_path / "a.mp4"))
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "a.mp4 must be a whole video file" in outcome.err


def test_a_real_video(ds4d: Callable, data_dir: Path) -> None:
    outcome = ds4d("check", str(data_dir / "videos" / "dancing_robot_fg.mp4"), "--frames", "12")
    assert outcome.status == 0
    assert "video: 32 frames of 512 x 512; 12 used" in outcome.out
    assert "cut out by the plain background's color" in outcome.out
    assert "nothing wrong was found" in outcome.out
