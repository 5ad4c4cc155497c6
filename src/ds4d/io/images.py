"""Images as 8-bit RGBA arrays: reading, premultiplying, resampling, writing.

Files hold straight alpha. In memory, color is premultiplied before it is resampled, so that the hidden color of a
transparent pixel never bleeds into its neighbors.
"""

import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ds4d.core import install_command
from ds4d.io.atomic import atomic_path
from ds4d.io.bounded_files import check_regular
from ds4d.io.paths import HEIC_SUFFIXES

MAX_PIXELS = 2**26  # of an image file: more than cameras give, and 1 GB once it is decoded and premultiplied
_MAX_BYTES = 2**31
# Pillow hands others to programs of their own.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
_ROWS_AT_ONCE = 256  # whose intermediate results are in memory together
_VISIBLE = 32  # of 255: at lower alpha, straight colors are too coarsely rounded to be used
READ_ERRORS = (OSError, EOFError, SyntaxError, ValueError, struct.error, OverflowError, MemoryError, RuntimeError)
READ_ERRORS += (TypeError, KeyError, IndexError, ZeroDivisionError)  # as Pillow meets them in damaged files
READ_ERRORS += (Image.DecompressionBombError, Image.DecompressionBombWarning)


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@contextmanager
def opened_image(path: str | Path) -> Generator[Image.Image, None, None]:
    """The image at `path`, its pixels not yet read; errors inside the block become a ValueError that names the file."""
    if not Path(path).is_file():
        raise ValueError(f"image {path} must be a file, got nothing there. Check the path, or make it again.")
    try:
        check_regular(path, max_bytes=_MAX_BYTES)
        with _checked(path) as image:
            yield image
    except READ_ERRORS as error:
        raise ValueError(
            f"image {path} must be a whole image file, got one that cannot be read ({error}). "
            "Export or download it again."
        ) from error


def _checked(path: str | Path) -> Image.Image:
    """The image at `path`, known by its header alone to be small enough."""
    Image.init()
    if Path(path).suffix.lower() in HEIC_SUFFIXES:
        _register_heic()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} are read: reduce it")
    return image


def _register_heic() -> None:
    """Teaches Pillow to read HEIC, which it cannot do alone."""
    try:
        import pi_heif
    except ImportError as error:
        raise ImportError(f"reading HEIC images needs pi-heif. Install it with: {install_command('heic')}") from error
    pi_heif.register_heif_opener(thumbnails=False)


def image_size(path: str | Path) -> Size:
    """Size of an image, from the file's header alone.

    Raises:
        ValueError: The file does not exist or is not an image.
    """
    with opened_image(path) as image:
        return Size(*image.size)


def fit_within(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of the largest image with this aspect ratio that fits into a square of `size` pixels."""
    scale = size / max(width, height)
    return max(1, round(scale * width)), max(1, round(scale * height))


def reduced_size(size: Size, max_side: int) -> Size:
    """The size with the same aspect ratio whose longer side is at most `max_side` pixels; never larger than `size`."""
    return Size(*fit_within(*size, min(max_side, max(size))))


def read_rgba(path: str | Path) -> UInt8[np.ndarray, "H W 4"]:
    """Reads an image with straight alpha, 255 if the file has none; higher bit depths are reduced to 8 bit.

    Raises:
        ValueError: The file does not exist, is truncated, is not an image, has floating-point pixels, or more than 64
            megapixels.
    """
    with opened_image(path) as image:
        return rgba_pixels(image)


def rgba_pixels(image: Image.Image) -> UInt8[np.ndarray, "H W 4"]:
    """Pixels of an opened image with straight alpha, as `read_rgba` returns them.

    Raises:
        ValueError: The image has floating-point pixels.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # Pillow would clip 16-bit gray at 255 instead of scaling it
        gray = np.empty((image.height, image.width), np.uint8)
        values = np.asarray(image)
        for rows in _blocks(image.height):
            gray[rows] = np.clip(np.rint(values[rows].astype(np.float64) / 257), 0, 255)
        image = Image.fromarray(gray)
    return np.array(image.convert("RGBA"))


def premultiply(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Converts straight to premultiplied alpha, rounded to nearest."""
    out = rgba.copy()
    for rows in _blocks(len(rgba)):
        product = rgba[rows, ..., :3] * rgba[rows, ..., 3:].astype(np.uint16) + np.uint16(128)
        out[rows, ..., :3] = (product + (product >> 8)) >> 8  # exact rounded division by 255
    return out


def _blocks(height: int) -> Iterator[slice]:
    """Blocks of rows, one after the other."""
    return (slice(first, first + _ROWS_AT_ONCE) for first in range(0, height, _ROWS_AT_ONCE))


def unpremultiply(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Premultiplied to straight alpha, rounded to nearest: 0 where alpha is 0, unchanged where alpha is 255."""
    colors = rgba[..., :3] * 255.0 / np.maximum(rgba[..., 3:], 1)
    return np.concatenate((colors.clip(0, 255).round().astype(np.uint8), rgba[..., 3:]), axis=-1)


def on_white(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 3"]:
    """Composites a premultiplied image over white."""
    return rgba[..., :3] + (255 - rgba[..., 3:])


def resize_premultiplied(rgba: UInt8[np.ndarray, "h w 4"], width: int, height: int) -> UInt8[np.ndarray, "H W 4"]:
    """Resizes a premultiplied image; color stays at most alpha, hence 0 where alpha is 0.

    Each axis is reduced by averaging (box filter if the factor is an integer) and enlarged bicubically.

    Args:
        rgba: premultiplied image.
        width: width of the result, pixels.
        height: height of the result, pixels.

    Raises:
        ValueError: The new size is below 1 pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height of an image must be at least 1, got {width} x {height}.")
    old_height, old_width = rgba.shape[:2]
    if (old_width, old_height) == (width, height):
        return rgba
    # "RGBa" is Pillow's premultiplied mode; in mode "RGBA" its resize would multiply by alpha again.
    image = Image.frombytes("RGBa", (old_width, old_height), rgba.tobytes())
    image = image.resize((width, old_height), _resampling(old_width, width))
    image = image.resize((width, height), _resampling(old_height, height))
    out = np.array(image)
    np.minimum(out[..., :3], out[..., 3:], out=out[..., :3])  # the bicubic filter overshoots
    return out


def _resampling(old: int, new: int) -> Image.Resampling:
    """The filter of one axis; Pillow widens it when reducing, so that every pixel contributes."""
    if new > old:
        return Image.Resampling.BICUBIC
    # Pillow's box filter takes pixels completely or not at all, which is uneven if the factor is not an integer.
    return Image.Resampling.BOX if old % new == 0 else Image.Resampling.HAMMING


def write_png(path: str | Path, pixels: UInt8[np.ndarray, "H W C"]) -> None:
    """Writes RGB (C = 3) or RGBA with straight alpha (C = 4); atomic."""
    if pixels.shape[-1] not in (3, 4):
        raise ValueError(f"pixels of {path} must have 3 or 4 channels, got {pixels.shape[-1]}.")
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")


def png_bytes(pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    """The content of a PNG file of RGB (C = 3) or RGBA with straight alpha (C = 4)."""
    content = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, format="PNG")
    return content.getvalue()


def spread_colors(rgba: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Extrapolates the colors of visible pixels to (nearly) transparent ones; straight alpha, which is unchanged.

    Formats that subsample color mix visible with transparent neighbors: without this, edges turn dark.
    """
    rows, columns = np.indices(rgba.shape[:2])
    weights = np.where(rgba[..., 3:] >= _VISIBLE, rgba[..., 3:], 0).astype(np.float32)
    sums, out, known, level = rgba[..., :3] * weights, rgba.copy(), weights[..., 0] > 0, 0
    while not known.all() and len(weights) * len(weights[0]) > 1:
        sums, weights, level = _summed_by_four(sums), _summed_by_four(weights), level + 1
        cell = rows >> level, columns >> level
        new = ~known & (weights[cell][..., 0] > 0)
        out[new, :3] = np.rint((sums / np.maximum(weights, 1))[cell][new])
        known |= new
    return out


def _summed_by_four(layers: Float32[np.ndarray, "h w C"]) -> Float32[np.ndarray, "H W C"]:
    """Sums over squares of 2 x 2, padded with 0 at the edge."""
    height, width = layers.shape[:2]
    even = np.pad(layers, ((0, height % 2), (0, width % 2), (0, 0)))
    return even.reshape(len(even) // 2, 2, even.shape[1] // 2, 2, -1).sum((1, 3))
