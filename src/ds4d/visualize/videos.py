"""Rendering a trajectory into a video file; the ending of its name chooses the format."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.io import spread_colors, write_alpha_video, write_gif, write_video
from ds4d.scene import Scene, render_over, render_rgb, render_rgba
from ds4d.types import Renderer
from ds4d.visualize.trajectories import Trajectory

OPAQUE = {".mp4": write_video, ".mkv": write_video, ".mov": write_video, ".gif": write_gif}
TRANSPARENT = {".webm": write_alpha_video}
SUFFIXES = (*OPAQUE, *TRANSPARENT)


def render_video(
    path: Path,
    scene: Scene,
    renderer: Renderer,
    trajectory: Trajectory,
    fps: float,
    background: UInt8[np.ndarray, "H W 3"] | None = None,
) -> None:
    """Renders a trajectory into a video file, atomically.

    Args:
        path: the video file; see `SUFFIXES` for its ending.
        scene: the scene to render.
        renderer: the renderer for the device of the scene.
        trajectory: the camera and the time of each frame.
        fps: frame rate, frames per second.
        background: image behind the object, of the size of the trajectory's images; white if None, or transparent in
            formats that support it.

    Raises:
        ValueError: the ending is unknown, or the format does not support the frame rate.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"video {path} must end in {', '.join(SUFFIXES)}. Rename it.")
    count = len(trajectory.times)
    if suffix in TRANSPARENT:
        transparent = tracked(render_trajectory(scene, renderer, trajectory, background), path.name, count)
        frames = (spread_colors(frame) for frame in transparent)
        return TRANSPARENT[suffix](path, _repeated(frames, trajectory.repeats), fps)
    if background is None:
        opaque = render_rgb(scene, renderer, trajectory.cameras, trajectory.times)
    else:
        opaque = _render_over(scene, renderer, trajectory, background)
    return OPAQUE[suffix](path, _repeated(tracked(opaque, path.name, count), trajectory.repeats), fps)


def render_trajectory(
    scene: Scene, renderer: Renderer, trajectory: Trajectory, background: UInt8[np.ndarray, "H W 3"] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The images of a trajectory with straight alpha, opaque if there is a background; repeats are left out."""
    if background is None:
        yield from render_rgba(scene, renderer, trajectory.cameras, trajectory.times)
        return
    for frame in _render_over(scene, renderer, trajectory, background):
        yield np.concatenate((frame, np.full_like(frame[..., :1], 255)), axis=-1)


def _render_over(
    scene: Scene, renderer: Renderer, trajectory: Trajectory, background: UInt8[np.ndarray, "H W 3"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    return render_over(scene, renderer, trajectory.cameras, trajectory.times, itertools.repeat(background))


def _repeated(frames: Iterable[np.ndarray], repeats: int) -> Iterator[np.ndarray]:
    """The frames `repeats` times, each rendered once."""
    if repeats == 1:
        yield from frames
        return
    kept = list(frames)
    for _ in range(repeats):
        yield from kept
