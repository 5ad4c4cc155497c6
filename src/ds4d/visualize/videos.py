"""A moving camera's pictures as a file: the suffix says which kind."""

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
class Shot:
    """What a film shows.

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
                f"Shot: cameras must be one per time, [{len(self.times)}, 1], got "
                f"{list(self.cameras.viewmats.shape[:-2])}."
            )
        if not ((self.times >= 0) & (self.times <= 1)).all():
            raise ValueError(f"Shot: times must lie in [0, 1], got {float(self.times.min())} to {self.times.max()}.")


def write_film(
    path: Path,
    scene: Scene,
    renderer: Renderer,
    shot: Shot,
    fps: float,
    background: UInt8[np.ndarray, "H W 3"] | None = None,
) -> None:
    """Draws a shot into a film, whole or not at all.

    Args:
        path: of the file; see `SUFFIXES`.
        scene: what is drawn.
        renderer: the splatter for the scene's device.
        shot: cameras and times.
        fps: frames per second.
        background: of the shot's size; without one it is white, or nothing in a film that can be transparent.

    Raises:
        ValueError: the suffix is not known, or the format cannot play so many frames per second.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"film {path} must end in {', '.join(SUFFIXES)}. Rename it.")
    count = len(shot.times)
    if suffix in TRANSPARENT:
        clear = tracked(draw_shot(scene, renderer, shot, background), path.name, count)
        frames = (spread_colors(frame) for frame in clear)
        return TRANSPARENT[suffix](path, _repeated(frames, shot.repeats), fps)
    if background is None:
        opaque = draw_rgb(scene, renderer, shot.cameras, shot.times)
    else:
        opaque = _draw_before(scene, renderer, shot, background)
    return OPAQUE[suffix](path, _repeated(tracked(opaque, path.name, count), shot.repeats), fps)


def draw_shot(
    scene: Scene, renderer: Renderer, shot: Shot, background: UInt8[np.ndarray, "H W 3"] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The shot's pictures with straight alpha; opaque before a background. Repeats are left out."""
    if background is None:
        yield from draw_rgba(scene, renderer, shot.cameras, shot.times)
        return
    for frame in _draw_before(scene, renderer, shot, background):
        yield np.concatenate((frame, np.full_like(frame[..., :1], 255)), axis=-1)


def _draw_before(
    scene: Scene, renderer: Renderer, shot: Shot, background: UInt8[np.ndarray, "H W 3"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    return draw_over(scene, renderer, shot.cameras, shot.times, itertools.repeat(background))


def _repeated(frames: Iterable[np.ndarray], repeats: int) -> Iterator[np.ndarray]:
    """The frames again and again, drawn once."""
    if repeats == 1:
        yield from frames
        return
    kept = list(frames)
    for _ in range(repeats):
        yield from kept
