"""`ds4d check`."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ds4d.cli.commands.generate import parse
from ds4d.io import image_size, write_png
from ds4d.preprocess import VideoConfig
from ds4d.presets import PRESETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight frames of a square that moves to the right, with alpha."""
    for time in range(8):
        rgba = np.zeros((60, 80, 4), np.uint8)
        rgba[20:50, 10 + 2 * time : 40 + 2 * time] = (180, 60, 40, 255)
        write_png(tmp_path / "frames" / f"{time}.png", rgba)
    return tmp_path / "frames"


def test_a_good_video(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    done = ds4d("check", str(folder), "-o", str(tmp_path / "out"), "--size", "64", "--fps", "8")
    assert done.code == 0, done.err
    video, matting, crop, problems, predicted, wrote, then = done.out.splitlines()
    assert re.findall(r"[\d.]+", video) == ["8", "80", "60", "8", "8", "0.00", "0.88"]
    assert "alpha" in matting and re.findall(r"\d+", crop) == ["52", "6", "9", "64"] and problems.startswith("no ")
    assert re.search(r"preset (cpu|fast) on \w+: about \d+ \w+ and \d\.\d GiB", predicted)
    assert wrote == f"wrote {tmp_path / 'out' / 'check.png'}"
    assert then == f"next: ds4d generate {folder} -o run --fps 8.0 --size 64"
    assert image_size(tmp_path / "out" / "check.png")[0] > 8 * 192


def test_next_command_reads_the_video_as_it_was_checked(ds4d: Callable, folder: Path) -> None:
    options = ["--preset", "tiny", "--start", "0.1", "--size", "64", "--matting", "alpha", "--keep", "all"]
    last = ds4d("check", folder, *options).out.splitlines()[-1]
    settings = parse(shlex.split(last.removeprefix("next: ds4d generate "))).settings
    assert replace(settings.video, size=settings.views.size) == VideoConfig(
        start=0.1, size=64, matting="alpha", keep="all"
    )
    assert replace(settings, views=PRESETS["tiny"]().views, video=VideoConfig()) == PRESETS["tiny"]()
    assert ds4d("check", folder).out.endswith(f"next: ds4d generate {folder} -o run\n")


def test_the_size_is_that_of_the_preset(ds4d: Callable, folder: Path) -> None:
    for options, size in ((("--preset", "tiny"), 128), (("--preset", "tiny", "--size", "512"), 512)):
        out = ds4d("check", folder, *options).out
        assert f"resized to {size}" in out
        assert ("--size 512" in out.splitlines()[-1]) == (size == 512)


def test_warnings_are_no_error(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    done = ds4d("check", str(folder), "--frames", "3", "--size", "64", "--follow", "off", "--json")
    assert done.code == 0
    result = json.loads(done.out)["result"]
    assert result["usable"] and {finding["severity"] for finding in result["findings"]} == {"warning"}
    assert {finding["name"] for finding in result["findings"]} == {"few_frames", "large_motion"}
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_fatal_findings_are_an_error_with_a_contact_sheet(ds4d: Callable, folder: Path, tmp_path: Path) -> None:
    write_png(folder / "8.png", np.zeros((60, 80, 4), np.uint8))
    done = ds4d("check", str(folder), "-o", str(tmp_path / "out"), "--size", "64")
    assert done.code == 2
    assert re.search(r"^fatal: .*1 of 9 frames.*0\.33 s", done.out, re.MULTILINE)
    assert (tmp_path / "out" / "check.png").is_file()
    assert f"ds4d: error: {folder} " in done.err and "next:" not in done.out


def test_a_file_that_is_no_video_is_an_error_of_one_line(ds4d: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    done = ds4d("check", str(tmp_path / "a.mp4"))
    assert done.code == 2 and done.err.count("\n") == 1 and "a.mp4" in done.err


def test_a_real_video(ds4d: Callable, data_dir: Path) -> None:
    done = ds4d("check", str(data_dir / "videos" / "dancing_robot_fg.mp4"), "--json")
    result = json.loads(done.out)["result"]
    assert (done.code, result["frames"], result["matted_by"], result["findings"]) == (0, 32, "color", [])
