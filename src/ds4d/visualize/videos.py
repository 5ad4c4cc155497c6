"""A moving camera's images as a file: the suffix says which kind."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import tracked
from ds4d.io import spread_colors, write_alpha_video, write_gif, write_video
from ds4d.scene import Scene, draw_over, draw_rgb, draw_rgba
from ds4d.types import Cameras, Renderer

OPAQUE = {".mp4": write_video, ".mkv": write_video, ".mov": write_video, ".gif": write_gif}
TRANSPARENT = {".webm": write_alpha_video}
SUFFIXES = (*OPAQUE, *TRANSPARENT)


@dataclass(frozen=True)
class Trajectory:
    """What a video shows.

    Attributes:
        cameras: one per frame, [F, 1]; inner world.
        times: of the clip, per frame, in [0, 1].
        repeats: how often the frames play.
    """

    cameras: Cameras
    times: Float[Tensor, " F"]
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.cameras.viewmats.shape[:-2] != (len(self.times), 1):
            raise ValueError(
                f"Trajectory: cameras must be one per time, [{len(self.times)}, 1], got "
                f"{list(self.cameras.viewmats.shape[:-2])}."
            )
        if not ((self.times >= 0) & (self.times <= 1)).all():
            raise ValueError(
                f"Trajectory: times must lie in [0, 1], got {float(self.times.min())} to {self.times.max()}."
            )


def render_video(
    path: Path,
    scene: Scene,
    renderer: Renderer,
    trajectory: Trajectory,
    fps: float,
    background: UInt8[np.ndarray, "H W 3"] | None = None,
) -> None:
    """Draws a shot into a video, whole or not at all.

    Args:
        path: of the file; see `SUFFIXES`.
        scene: what is drawn.
        renderer: the splatter for the scene's device.
        trajectory: cameras and times.
        fps: frames per second.
        background: of the shot's size; without one it is white, or nothing in a video that can be transparent.

    Raises:
        ValueError: the suffix is not known, or the format cannot play so many frames per second.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"video {path} must end in {', '.join(SUFFIXES)}. Rename it.")
    count = len(trajectory.times)
    if suffix in TRANSPARENT:
        clear = tracked(render_trajectory(scene, renderer, trajectory, background), path.name, count)
        frames = (spread_colors(frame) for frame in clear)
        return TRANSPARENT[suffix](path, _repeated(frames, trajectory.repeats), fps)
    if background is None:
        opaque = draw_rgb(scene, renderer, trajectory.cameras, trajectory.times)
    else:
        opaque = _draw_before(scene, renderer, trajectory, background)
    return OPAQUE[suffix](path, _repeated(tracked(opaque, path.name, count), trajectory.repeats), fps)


def render_trajectory(
    scene: Scene, renderer: Renderer, trajectory: Trajectory, background: UInt8[np.ndarray, "H W 3"] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The shot's images with straight alpha; opaque before a background. Repeats are left out."""
    if background is None:
        yield from draw_rgba(scene, renderer, trajectory.cameras, trajectory.times)
        return
    for frame in _draw_before(scene, renderer, trajectory, background):
        yield np.concatenate((frame, np.full_like(frame[..., :1], 255)), axis=-1)


def _draw_before(
    scene: Scene, renderer: Renderer, trajectory: Trajectory, background: UInt8[np.ndarray, "H W 3"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    return draw_over(scene, renderer, trajectory.cameras, trajectory.times, itertools.repeat(background))


def _repeated(frames: Iterable[np.ndarray], repeats: int) -> Iterator[np.ndarray]:
    """The frames again and again, drawn once."""
    if repeats == 1:
        yield from frames
        return
    kept = list(frames)
    for _ in range(repeats):
        yield from kept
