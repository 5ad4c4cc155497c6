"""Writing animated GIFs."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ds4d.io.atomic import atomic_path

MAX_FPS = 50.0  # browsers display frames of less than 0.02 s for 0.1 s

_MIN_FPS = 0.002  # the duration of a frame has 16 bits


def write_gif(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float) -> None:
    """Writes RGB frames as a GIF that loops forever, with 256 colors per frame; atomic.

    Frame durations are hundredths of a second, rounded so that the total duration is kept.

    Args:
        path: path of the file.
        frames: frames of one size; consumed one at a time.
        fps: frames per second, at least 0.002 and at most `MAX_FPS`.

    Raises:
        ValueError: There are no frames, or `fps` is out of range.
    """
    if not 0 < fps <= MAX_FPS:
        raise ValueError(f"fps of {path} must be above 0 and at most {MAX_FPS:g}, got {fps:g}. Lower it.")
    if fps < _MIN_FPS:
        raise ValueError(f"fps of {path} must be at least {_MIN_FPS:g}, got {fps:g}. Raise it, or write an mp4.")
    images = _quantized(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"{path} must have at least one frame, got none.")
    others = list(images)
    ends = [round(100 * i / fps) for i in range(len(others) + 2)]
    durations = [10 * (end - start) for start, end in itertools.pairwise(ends)]  # milliseconds
    with atomic_path(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _quantized(frames: Iterable[UInt8[np.ndarray, "H W 3"]]) -> Iterator[Image.Image]:
    """Each frame with a palette of its own, without dithering, which would flicker."""
    for frame in frames:
        image = Image.fromarray(np.ascontiguousarray(frame))
        yield image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
