"""Animated WebP, PNG and AVIF, read as a video."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ds4d.io.images import (
    READ_ERRORS,
    Size,
    opened_image,
    premultiply,
    reduced_size,
    resize_premultiplied,
    rgba_pixels,
)

_SUFFIXES = {".webp", ".png", ".apng", ".avif"}  # FFmpeg reads GIF, and not animated WebP
_FASTEST, _DEFAULT = 10.0, 100.0  # milliseconds: browsers, too, show frames of at most 10 ms for 100
_MAX_PIXELS = 2**36  # of all frames: more than 5000 frames of 4K


def is_animated(path: Path) -> bool:
    """Whether a path is that of an image file with several frames.

    Raises:
        ValueError: The file cannot be read.
    """
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    with opened_image(path) as image:
        return getattr(image, "n_frames", 1) > 1


class AnimatedImage:
    """An animated image, read as a video; its attributes are those of `VideoReader`.

    Args:
        path: an animated WebP, PNG or AVIF.

    Raises:
        ValueError: The file cannot be read, or is too large.
    """

    color = None

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened_image(path) as image:
            self.size = Size(*image.size)
            announced = getattr(image, "n_frames", 1) - _still(image)
            if announced * image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{announced} frames of {image.width} x {image.height} pixels: shorten or reduce it")
            durations = [_duration(frame) for _, frame in _frames(image)]
        starts = np.cumsum([0, *durations[:-1]]) / 1000
        self.seconds: list[float] = starts.tolist()
        self.missing = announced - len(durations)

    def read(
        self, indices: Sequence[int], max_side: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Reads frames one after the other, premultiplied; arguments as in `VideoReader.read`."""
        size, wanted = reduced_size(self.size, max_side), set(indices)
        with opened_image(self.path) as image:
            for index, frame in _frames(image):
                if index not in wanted:
                    continue
                pixels = rgba_pixels(frame)
                if not alpha:
                    pixels[..., 3] = 255
                yield index, resize_premultiplied(premultiply(pixels), *size)
                wanted.remove(index)
                if not wanted:
                    return


def _still(image: Image.Image) -> int:
    """Number of images before the first frame: a PNG may hold one for programs that do not know animations."""
    return int(getattr(image, "default_image", False))


def _frames(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The frames with their index, up to the first damaged one, but at least one."""
    first = _still(image)
    for index in range(getattr(image, "n_frames", 1) - first):
        try:
            image.seek(first + index)
            image.load()
        except READ_ERRORS:
            if index == 0:
                raise
            return
        yield index, image


def _duration(frame: Image.Image) -> float:
    """How long a frame is displayed, milliseconds."""
    duration = float(frame.info.get("duration") or 0)
    return duration if duration > _FASTEST else _DEFAULT
