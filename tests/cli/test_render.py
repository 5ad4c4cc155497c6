"""`ds4d render`: videos of every camera, and refused options."""

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
from ds4d.scene import BakedGaussians, DynamicGaussians, render_rgb
from ds4d.visualize import OutputsConfig, fixed_trajectory

SIZE = ["--size", "32", "--fps", "6", "--seconds", "1"]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def frame_count(path: Path) -> int:
    return len(frames_of(path))


def test_render_writes_videos(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    size = ["--size", 32, "--fps", 6, "--seconds", 1]
    assert ds4d("render", finished_run, "--orbit", *size, "-o", tmp_path / "orbit.mp4").code == 0
    assert frame_count(tmp_path / "orbit.mp4") == 6
    side = ds4d(
        "render", finished_run, "--azimuth", 90, "--elevation", 20, *size, "--slow", 4, "-o", tmp_path / "s.mp4"
    )
    assert side.code == 0 and f"wrote {tmp_path / 's.mp4'}" in side.out
    assert frame_count(tmp_path / "s.mp4") == 24  # one second, four times slower, six frames a second


def test_slow_motion_evaluates_the_field_between_frames(finished_run: Path) -> None:
    """Interpolated frames, which playback uses, agree with the field only at the frames."""
    scene, blended = DynamicGaussians.load(finished_run), BakedGaussians.load(finished_run)
    trajectory = fixed_trajectory(scene, OutputsConfig(size=32, fps=6.0, slow=8.0, seconds=0.1), 0.0)
    assert len(trajectory.times) == 48  # eight images for each of six frames
    with torch.no_grad():
        ours, theirs = scene.raw_at(trajectory.times).means, blended.raw_at(trajectory.times).means
    difference = (ours - theirs).abs().amax((1, 2))
    assert difference[[0, -1]].max() < 1e-5 and difference.max() > 1e-3


def test_videos_of_every_format(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    for name in ("a.webm", "a.gif", "a.mp4"):
        assert ds4d("render", finished_run, "--azimuth", 0, *SIZE, "-o", tmp_path / name).code == 0
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == frame_count(tmp_path / "a.mp4") == frame_count(tmp_path / "a.webm") == 6
    assert ds4d("render", finished_run, "--azimuth", 0, *SIZE, "-o", tmp_path / "images").code == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [f"frame{i:04d}.png" for i in range(1, 7)]
    alphas = read_rgba(tmp_path / "images" / names[0])[..., 3]
    assert (alphas == 0).any() and (alphas > 200).any()


def test_key_frames_set_camera_and_time(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"at": 0, "time": 0}, {"at": 1, "azimuth": 90, "time": 1}]))
    argv = ["--keyframes", path, "--size", 32, "--fps", 6, "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *argv).code == 0
    assert len(list((tmp_path / "images").iterdir())) == 7
    scene = DynamicGaussians.load(finished_run)
    side = fixed_trajectory(scene, OutputsConfig(size=32, fps=6.0, seconds=0.1), 90.0)
    last = list(render_rgb(scene, renderer_for("cpu"), side.cameras, side.times))[-1]
    ours = read_rgba(tmp_path / "images" / "frame0007.png").astype(int)
    over_white = ours[..., :3] * ours[..., 3:] / 255 + 255 - ours[..., 3:]
    assert np.abs(over_white - last).max() <= 3
    slow = ds4d("render", finished_run, *argv, "--slow", 2, "--force")
    assert slow.code == 2 and "error: --slow" in slow.err


def test_the_input_camera_reproduces_the_input_view(
    ds4d: Callable, finished_run: Path, sample_folder: Path, tmp_path: Path
) -> None:
    argv = ["--input-camera", "--fps", 6, "--seconds", 0.1, "--background", "black", "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *argv).code == 0
    assert image_size(tmp_path / "images" / "frame0001.png") == (48, 48)
    ours = read_rgba(tmp_path / "images" / "frame0001.png")
    truth = read_rgba(sample_folder / "front" / "000.png").astype(float)
    assert ours[..., 3].min() == 255
    images = [ours[..., :3] / 255, truth[..., :3] * truth[..., 3:] / 255**2]
    a, b = (torch.tensor(image).float().movedim(-1, 0)[None] for image in images)
    assert float(psnr(a, b)) > 18


def test_time_freezes_the_clip(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["--azimuth", 0, "--time", 0.5, *SIZE, "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *argv).code == 0
    first, last = (read_rgba(tmp_path / "images" / f"frame000{i}.png") for i in (1, 6))
    assert np.array_equal(first, last)


def test_a_png_is_a_single_image(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["--azimuth", 30, "--time", 0.37, "--size", 32, "-o", tmp_path / "still.png"]
    assert ds4d("render", finished_run, *argv).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["still.png"] and image_size(tmp_path / "still.png") == (
        32,
        32,
    )
    frozen = ["--azimuth", 30, "--time", 0.37, *SIZE, "-o", tmp_path / "images"]
    assert ds4d("render", finished_run, *frozen).code == 0
    still, frame = read_rgba(tmp_path / "still.png"), read_rgba(tmp_path / "images" / "frame0003.png")
    assert np.array_equal(still, frame)


def test_a_loop_reports_its_jump(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    done = ds4d("render", finished_run, "--azimuth", 0, "--loop", *SIZE, "-o", tmp_path / "a.mp4")
    assert done.code == 0 and "loop: " in done.out


def test_existing_files_need_force(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["render", finished_run, "--orbit", *SIZE, "-o", tmp_path / "a.mp4"]
    (tmp_path / "a.mp4").write_text("mine")
    done = ds4d(*argv)
    assert done.code == 2 and "a.mp4" in done.err and "--force" in done.err
    assert (tmp_path / "a.mp4").read_text() == "mine"
    assert ds4d(*argv, "--force").code == 0 and frame_count(tmp_path / "a.mp4") == 6


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "one of --transforms"),
        (["--orbit", "--azimuth", "3"], "one of --transforms"),
        (["--transforms", "x.json", "--fps", "3"], "--fps"),
        (["--keyframes", "x.json", "--time", "0.3"], "--time"),
        (["--orbit", "-o", "video.avi"], "--output"),
        (["--azimuth", "30", "-o", "still.png"], "--output"),
        (["--orbit", "--time", "0.5", "-o", "still.png"], "--output"),
        (["--over", "video.mp4", "-o", "video.webm"], "--output"),
        (["--orbit", "--move", "5", "-o", "video.mp4"], "--move"),
        (["--orbit", "--time", "1.01"], "--time"),
        (["--orbit", "--background", "nowhere.png"], "--background"),
        (["--orbit", "--time", "0.5", "--slow", "2"], "--slow"),
        (["--orbit", "--time", "0.5", "--loop"], "--loop"),
        (["--keyframes", "absent.json"], "key frames absent.json"),
    ],
)
def test_invalid_options_are_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, options: list[str], name: str
) -> None:
    output = [] if "-o" in options else ["-o", tmp_path / "out"]
    done = ds4d("render", finished_run, *output, *options)
    assert done.code == 2 and f"error: {name}" in done.err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["render --orbit -o o.mp4", "export -o x", "eval --data x"])
def test_unfinished_and_newer_runs_are_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, command: str
) -> None:
    name, *argv = command.split()
    shutil.copy(finished_run / "config.json", tmp_path / "config.json")
    done = ds4d(name, tmp_path, *argv)
    assert done.code == 2 and str(tmp_path) in done.err
    for file in finished_run.glob("scene.*"):
        shutil.copy(file, tmp_path)
    record = json.loads((tmp_path / "scene.json").read_text())
    (tmp_path / "scene.json").write_text(json.dumps(record | {"format": record["format"] + 1}))
    done = ds4d(name, tmp_path, *argv)
    assert done.code == 2 and "newer" in done.err


def test_a_labeled_comparison_of_the_input_with_the_object_from_four_sides(
    ds4d: Callable, finished_run: Path, tmp_path: Path
) -> None:
    done = ds4d("render", finished_run, "--compare", "--size", 64, "-o", tmp_path / "a.mp4")
    assert done.code == 0, done.err
    frames = frames_of(tmp_path / "a.mp4")
    assert len(frames) == 6
    columns = [frames[3][-68:-4, x : x + 64].astype(float) for x in range(4, 4 + 5 * 68, 68)]
    near = np.abs(columns[0] - columns[1]).mean()
    assert all(near < np.abs(columns[0] - column).mean() for column in columns[2:])
    assert all((frames[3][:20, x : x + 64] < 128).any() for x in range(4, 4 + 5 * 68, 68))
    assert ds4d("render", finished_run, "--compare", "--fps", 5, "-o", tmp_path / "b.mp4").code == 2
    assert ds4d("render", finished_run, "--compare", "-o", tmp_path / "b.webm").code == 2
