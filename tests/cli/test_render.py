"""`ds4d render`: videos of every camera, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.io import image_size, read_rgba
from ds4d.metrics import psnr
from ds4d.rendering import renderer_for
from ds4d.scene import BakedGaussians, DynamicGaussians, draw_rgb
from ds4d.visualize import OutputsConfig, fixed_trajectory

SIZE = ["--size", "32", "--fps", "6", "--seconds", "1"]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def frame_count(path: Path) -> int:
    return len(frames_of(path))


def test_render_writes_videos(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    size = ["--size", 32, "--fps", 6, "--seconds", 1]
    assert ds4d("render", finished_run, "--orbit", *size, "-o", tmp_path / "orbit.mp4").status == 0
    assert frame_count(tmp_path / "orbit.mp4") == 6
    side = ds4d(
        "render", finished_run, "--azimuth", 90, "--elevation", 20, *size, "--slow", 4, "-o", tmp_path / "s.mp4"
    )
    assert side.status == 0 and f"wrote {tmp_path / 's.mp4'}" in side.out
    assert frame_count(tmp_path / "s.mp4") == 24  # one second, four times slower, six frames a second


def test_slow_motion_asks_the_field_between_the_frames(finished_run: Path) -> None:
    """Blended frames, which playing uses, show another motion between frames and the same one at them."""
    scene, blended = DynamicGaussians.load(finished_run), BakedGaussians.load(finished_run)
    trajectory = fixed_trajectory(scene, OutputsConfig(size=32, fps=6.0, slow=8.0, seconds=0.1), 0.0)
    assert len(trajectory.times) == 48  # a clip of six frames: eight images for each
    with torch.no_grad():
        ours, theirs = scene.raw_at(trajectory.times).means, blended.raw_at(trajectory.times).means
    apart = (ours - theirs).abs().amax((1, 2))
    assert apart[[0, -1]].max() < 1e-5 and apart.max() > 1e-3


def test_videos_of_every_ending(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    for name in ("a.webm", "a.gif", "a.mp4"):
        assert ds4d("render", finished_run, "--azimuth", 0, *SIZE, "-o", tmp_path / name).status == 0
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == frame_count(tmp_path / "a.mp4") == frame_count(tmp_path / "a.webm") == 6
    assert ds4d("render", finished_run, "--azimuth", 0, *SIZE, "-o", tmp_path / "images").status == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [f"frame{i:04d}.png" for i in range(1, 7)]
    alphas = read_rgba(tmp_path / "images" / names[0])[..., 3]
    assert (alphas == 0).any() and (alphas > 200).any()


def test_key_frames_lead_camera_and_time(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"at": 0, "time": 0}, {"at": 1, "azimuth": 90, "time": 1}]))
    words = ["--keyframes", path, "--size", 32, "--fps", 6, "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *words).status == 0
    assert len(list((tmp_path / "images").iterdir())) == 7
    scene = DynamicGaussians.load(finished_run)
    side = fixed_trajectory(scene, OutputsConfig(size=32, fps=6.0, seconds=0.1), 90.0)
    last = list(draw_rgb(scene, renderer_for("cpu"), side.cameras, side.times))[-1]
    ours = read_rgba(tmp_path / "images" / "frame0007.png").astype(int)
    over_white = ours[..., :3] * ours[..., 3:] / 255 + 255 - ours[..., 3:]
    assert np.abs(over_white - last).max() <= 3
    slow = ds4d("render", finished_run, *words, "--slow", 2, "--force")
    assert slow.status == 2 and "--slow must not be given with key frames that give the time" in slow.err


def test_the_input_camera_sees_the_input(
    ds4d: Callable, finished_run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    """The front view was fitted: its own camera must show it again."""
    words = ["--input-camera", "--fps", 6, "--seconds", 0.1, "--background", "black", "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *words).status == 0
    assert image_size(tmp_path / "images" / "frame0001.png") == (48, 48)
    ours = read_rgba(tmp_path / "images" / "frame0001.png")
    truth = read_rgba(sample_folder / "front" / "000.png").astype(float)
    assert ours[..., 3].min() == 255
    images = [ours[..., :3] / 255, truth[..., :3] * truth[..., 3:] / 255**2]
    a, b = (torch.tensor(image).float().movedim(-1, 0)[None] for image in images)
    assert float(psnr(a, b)) > 18


def test_time_may_stand_still(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    words = ["--azimuth", 0, "--time", 0.5, *SIZE, "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *words).status == 0
    first, last = (read_rgba(tmp_path / "images" / f"frame000{i}.png") for i in (1, 6))
    assert np.array_equal(first, last)


def test_a_loop_says_how_far_it_jumped(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    outcome = ds4d("render", finished_run, "--azimuth", 0, "--loop", *SIZE, "-o", tmp_path / "a.mp4")
    assert outcome.status == 0 and "loop: the end lies" in outcome.out


def test_nothing_is_written_over_unless_forced(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    words = ["render", finished_run, "--orbit", *SIZE, "-o", tmp_path / "a.mp4"]
    (tmp_path / "a.mp4").write_text("mine")
    outcome = ds4d(*words)
    assert outcome.status == 2 and "a.mp4 must not exist yet" in outcome.err and "--force" in outcome.err
    assert (tmp_path / "a.mp4").read_text() == "mine"
    assert ds4d(*words, "--force").status == 0 and frame_count(tmp_path / "a.mp4") == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of --transforms, --orbit, --azimuth, --keyframes, --input-camera, --over, got none"),
        (["--orbit", "--azimuth", "3"], "got --orbit and --azimuth"),
        (["--transforms", "x.json", "--fps", "3"], "--fps must not be given with --transforms"),
        (["--keyframes", "x.json", "--time", "0.3"], "--time must not be given with --keyframes"),
        (["--orbit", "-o", "video.avi"], "--output must end in .mp4, .mkv, .mov, .gif, .webm"),
        (["--over", "video.mp4", "-o", "video.webm"], "--output must end in .mp4, .mkv, .mov, .gif, got video.webm"),
        (["--orbit", "--time", "1.01"], "--time must lie in [0, 1], from the first frame to the last, got 1.01"),
        (["--orbit", "--background", "nowhere.png"], "--background must be a color such as white"),
        (["--orbit", "--time", "0.5", "--slow", "2"], "--slow must not be given with --time"),
        (["--orbit", "--time", "0.5", "--loop"], "--loop must not be given with --time"),
        (["--keyframes", "absent.json"], "key frames absent.json must be a json file"),
    ],
)
def test_render_does_one_thing(
    ds4d: Callable, finished_run: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    output = [] if "-o" in words else ["-o", tmp_path / "out"]
    outcome = ds4d("render", finished_run, *output, *words)
    assert outcome.status == 2 and message in outcome.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["render --orbit -o o.mp4", "export -o x", "eval --data x"])
def test_runs_that_are_not_there_yet_are_named(
    ds4d: Callable, finished_run: Path, tmp_path: Path, command: str
) -> None:
    name, *words = command.split()
    shutil.copy(finished_run / "config.json", tmp_path / "config.json")
    outcome = ds4d(name, tmp_path, *words)
    assert outcome.status == 2 and f"run {tmp_path} must be fitted to its end" in outcome.err
    for file in finished_run.glob("scene.*"):
        shutil.copy(file, tmp_path)
    record = json.loads((tmp_path / "scene.json").read_text())
    (tmp_path / "scene.json").write_text(json.dumps(record | {"format": record["format"] + 1}))
    outcome = ds4d(name, tmp_path, *words)
    assert outcome.status == 2 and "newer ds4d" in outcome.err
