"""Writing GIF animations."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ds4d.io.atomic import atomic_path

FASTEST = 50.0  # frames per second: browsers show shorter pauses than 0.02 s as 0.1 s


def write_gif(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float) -> None:
    """Writes RGB frames as a GIF that plays for ever, 256 colors to each frame, whole or not at all.

    Pauses are hundredths of a second; they are rounded so that the whole keeps its length.

    Args:
        path: of the file.
        frames: of one size, taken one at a time.
        fps: frames per second, above 0, at most `FASTEST`.

    Raises:
        ValueError: no frames, or an fps that GIFs cannot play.
    """
    if not 0 < fps <= FASTEST:
        raise ValueError(f"write_gif: fps must be above 0 and at most {FASTEST:g}, got {fps:g}. Take fewer.")
    images = _few_colored(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"write_gif: {path} must have at least one frame, got none.")
    kept = [first, *images]
    ends = [round(100 * i / fps) for i in range(len(kept) + 1)]
    pauses = [10 * (end - start) for start, end in itertools.pairwise(ends)]  # milliseconds
    with atomic_path(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=kept[1:], duration=pauses, loop=0)


def _few_colored(frames: Iterable[UInt8[np.ndarray, "H W 3"]]) -> Iterator[Image.Image]:
    """Every frame with a palette of its own, without dithering, which would flicker."""
    for frame in frames:
        image = Image.fromarray(np.ascontiguousarray(frame))
        yield image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
