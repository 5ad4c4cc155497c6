"""What stands behind the object: a color or an image."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ImageColor

from ds4d.io import on_white, premultiply, read_rgba, resize_premultiplied


def read_background(word: str, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """A background of the size asked for.

    Args:
        word: a color by its name (white) or as #rrggbb, or the file of an image, which is cut to shape; what is
            transparent in it is white.
        width: pixels.
        height: pixels.

    Raises:
        ValueError: it is neither a color nor an image.
    """
    if Path(word).is_file():
        return _cut(premultiply(read_rgba(word)), width, height)
    try:
        color = ImageColor.getrgb(word)
    except ValueError as error:
        raise ValueError(
            f"--background must be a color such as white or #rrggbb, or an image, got {word!r}. Check the path."
        ) from error
    return np.full((height, width, 3), color[:3], np.uint8)


def _cut(rgba: UInt8[np.ndarray, "h w 4"], width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """The middle of an image, as large as fits."""
    scale = max(width / rgba.shape[1], height / rgba.shape[0])
    large = resize_premultiplied(
        rgba, max(width, round(scale * rgba.shape[1])), max(height, round(scale * rgba.shape[0]))
    )
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return on_white(large[top : top + height, left : left + width])
