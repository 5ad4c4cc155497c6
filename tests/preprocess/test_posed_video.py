"""A video whose camera walks round the object, with poses from a transforms file."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import notices_to
from ds4d.data.synthetic import render_sample
from ds4d.data.synthetic.surface_points import surface_points
from ds4d.geometry import camera_focus, frame_times, opencv_to_opengl, orbit_cameras, project_points
from ds4d.io import write_png
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import Finished, TrainingInput, iter_run, read_input
from ds4d.preprocess import VideoConfig

COUNT, SIDE, WIDTH, HEIGHT, LEFT, TOP = 8, 48, 100, 64, 40, 6
CPU = torch.device("cpu")


@pytest.fixture
def walk(tmp_path: Path) -> Callable[..., Path]:
    """Writes the creature, right of the middle of images whose camera walks round it; returns the file of poses."""

    def write(*, keys: tuple[str, ...] = ("frame",), order: int = 1, span: float = 180.0, **changed: object) -> Path:
        azimuths = np.linspace(-span / 2, span / 2, COUNT).tolist()
        cameras = orbit_cameras(azimuths, [10.0] * COUNT, fovy_deg=34.0, distance=2.0, width=SIDE, height=SIDE)
        times, frames = frame_times(COUNT), []
        for time in range(COUNT):
            image = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
            seen = render_sample(cameras[time : time + 1], times[time : time + 1], supersampling=2)[0, 0]
            image[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = seen
            write_png(tmp_path / "video" / f"{time + 1:03d}.png", image)
            pose = opencv_to_opengl(cameras.viewmats[time].double()).tolist()
            frame = {"file_path": f"images/{time + 1:03d}.png", "transform_matrix": pose}
            frame |= {key: {"frame": time, "time": float(times[time])}[key] for key in keys}
            frames.append(frame)
        K = cameras.Ks[0]
        content = {
            "fl_x": float(K[0, 0]), "fl_y": float(K[1, 1]), "w": WIDTH, "h": HEIGHT,
            "cx": LEFT + SIDE / 2, "cy": TOP + SIDE / 2, "frames": frames[::order], **changed,
        }  # fmt: skip
        (tmp_path / "cameras.json").write_text(json.dumps(content))
        return tmp_path / "cameras.json"

    return write


def read(cameras: Path, views: ViewsConfig | None = None, **video: object) -> TrainingInput:
    settings = GenerateConfig(views=views or ViewsConfig(size=64), video=VideoConfig(cameras=cameras, **video))  # ty: ignore
    return read_input(cameras.parent / "video", settings, CPU)


def share_inside(read_in: TrainingInput, times: torch.Tensor) -> float:
    """The smallest share of points on the creature that are seen on the object."""
    video, points = read_in.video, surface_points(times, 200, 0)
    shares = []
    for time in range(video.num_times):
        pixels = project_points(points[time], video.cameras[time])[0]  # of the only view
        columns, rows = pixels[..., :2].reshape(-1, 2).T.long().clamp(0, video.frames.width - 1)
        shares.append((video.frames.read(time, 0)[rows, columns, 3] > 60).mean())
    return float(min(shares))


@pytest.mark.parametrize("keys", [("frame",), ("time",), ()])
@pytest.mark.parametrize("order", [1, -1])
def test_points_of_the_object_are_seen_on_it(walk, keys: tuple[str, ...], order: int) -> None:
    """In whatever order the file has them, and with whatever tells that order."""
    clip = read(walk(keys=keys, order=order))
    assert (clip.video.num_times, clip.video.num_views) == (COUNT, 1)
    assert clip.source == "folder" and clip.video.is_monocular_sweep and not clip.video.cameras.is_static
    assert clip.video.frames.width == 64 and clip.video.view_weights.tolist() == [1.0]
    assert share_inside(clip, frame_times(COUNT)) > 0.95


def test_selected_frames_have_their_own_poses(walk) -> None:
    clip = read(walk(), frames=4)
    chosen = torch.linspace(0, COUNT - 1, 4).round().long()
    assert clip.video.num_times == 4
    assert share_inside(clip, frame_times(COUNT)[chosen]) > 0.95


def test_the_object_is_found_beside_the_optical_axis(walk) -> None:
    """The cameras look at the origin, and their crops have it in the middle, but not their principal points."""
    cameras = read(walk()).video.cameras
    focus, radius = camera_focus(cameras)
    assert focus.norm() < 0.1 and radius > 0.3


def test_a_moving_camera_is_no_fault_of_the_video(walk) -> None:
    with notices_to((notices := []).append):
        clip = read(walk())
    assert clip.findings is not None and notices == []


@pytest.mark.parametrize(
    ("changed", "video", "views", "message"),
    [
        ({"w": WIDTH // 2}, {}, {}, "shape"),
        ({"k1": 0.3}, {}, {}, "k1"),
        ({}, {"end": 0.2}, {}, None),
        ({}, {}, {"source": "inflate"}, "--views"),
        ({}, {}, {"elevation": 10.0}, "--elevation"),
        ({}, {"stabilize": "on"}, {}, "--stabilize"),
    ],
)
def test_what_does_not_fit(walk, changed: dict, video: dict, views: dict, message: str | None) -> None:
    path = walk(**changed)
    if message is None:  # a shorter part still has its poses
        assert read(path, **video).video.num_times < COUNT
        return
    with pytest.raises(ValueError, match=message):
        read(path, ViewsConfig(size=64, **views), **video)


@pytest.mark.parametrize("span", [0.0, 30.0])
def test_a_camera_that_hardly_moves(walk, span: float) -> None:
    """Where all is seen from one side, views are to be generated."""
    path = walk(span=span)
    if span == 0.0:
        with pytest.raises(ValueError, match="--cameras"):
            read(path)
        return
    with notices_to((notices := []).append):
        read(path)
    assert [(notice.part, "degrees" in notice.message) for notice in notices] == [("input", True)]


def test_another_number_of_poses_is_refused(walk) -> None:
    path = walk()
    content = json.loads(path.read_text())
    content["frames"] = content["frames"][:-1]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"--cameras .* got 7"):
        read(path)
    with pytest.raises(ValueError, match="--cameras"):
        read(path.with_name("none.json"))


def test_a_fit_shows_what_the_camera_saw(walk, tmp_path: Path, quick_config: GenerateConfig) -> None:
    settings = replace(
        quick_config,
        video=VideoConfig(cameras=walk(), size=48),
        views=ViewsConfig(size=48),
        training=replace(quick_config.training, static_steps=40, dynamic_steps=60),
    )
    events = list(iter_run(tmp_path / "video", tmp_path / "run", config=settings, device="cpu"))
    assert isinstance(events[-1], Finished)
    metrics = events[-1].metrics
    assert metrics.views == 1 and math.isfinite(metrics.input_psnr) and metrics.input_psnr > 18.0
