"""Frames as numbered images in a folder."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.io.images import image_size, premultiply, read_rgba, resize_premultiplied
from ds4d.io.sizes import Size, reduced

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
_NUMBER = re.compile(r"(\d+)")
_USUAL_FPS = 24.0  # of images, which do not tell


class ImageSequence:
    """A folder of numbered images, or one image, read as a video.

    Args:
        path: the folder, one with the images in `ref/` (STAG4D's layout), or an image.
        fps: frames per second; 24 if None.

    Attributes:
        seconds: the time of every frame, rising, from 0.
        size: width and height, pixels.
        missing: 0; an image that cannot be read is an error.

    Raises:
        ValueError: no images, images of several sequences, or of different sizes.
    """

    missing = 0

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self._files = _in_order(path)
        self.seconds = [index / (fps or _USUAL_FPS) for index in range(len(self._files))]
        self.size = Size(*image_size(self._files[0]))
        for file in self._files:
            width, height = image_size(file)
            if (width, height) != self.size:
                raise ValueError(
                    f"images of {path} must share one size, got {self.size.width} x {self.size.height} in "
                    f"{self._files[0].name} and {width} x {height} in {file.name}. Resize them."
                )

    def read(
        self, indices: Sequence[int], most: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Reads images one after the other, premultiplied; arguments as `VideoReader.read`."""
        size = reduced(self.size, most)
        for index in indices:
            pixels = read_rgba(self._files[index])
            if not alpha:
                pixels[..., 3] = 255
            yield index, resize_premultiplied(premultiply(pixels), *size)


def _in_order(path: Path) -> list[Path]:
    """The images by their numbers: 2 comes before 10."""
    if path.is_file():
        return [path]
    folder = path / "ref" if (path / "ref").is_dir() else path
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    if not files:
        raise ValueError(f"{folder} must hold images (png, jpg, ...), got none. Name a video or another folder.")
    names = {_NUMBER.sub("#", file.stem) for file in files if _NUMBER.search(file.stem)}
    if len(names) > 1:
        raise ValueError(
            f"{folder} must hold one numbered sequence of images, got names like {' and '.join(sorted(names)[:3])}. "
            "Move the others away."
        )
    return sorted(files, key=_natural)


def _natural(file: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers in a name as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBER.split(file.stem)]
