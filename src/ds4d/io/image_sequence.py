"""Numbered images in a folder, read as a video."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import Warned, notify
from ds4d.io.images import Size, image_size, premultiply, read_rgba, reduced_size, resize_premultiplied
from ds4d.io.paths import IMAGE_SUFFIXES, NUMBER, natural_key

_DEFAULT_FPS = 24.0


class ImageSequence:
    """A folder of numbered images, or one image, read as a video.

    Args:
        path: a folder of images, a folder with images in `ref/` (STAG4D's layout), or an image.
        fps: frames per second; 24 if None.

    Attributes:
        files: the images, in order.
        seconds: time of each frame, increasing, from 0.
        size: size of the images.
        missing: number of missing frames, always 0: an image that cannot be read is an error.
        color: always None: images are read as sRGB.

    Raises:
        ValueError: There are no images, or they belong to several sequences or differ in size.
    """

    missing = 0
    color = None

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self.files = _sorted_files(path)
        self.seconds = [index / (fps or _DEFAULT_FPS) for index in range(len(self.files))]
        self.size = Size(*image_size(self.files[0]))
        for file in self.files:
            width, height = image_size(file)
            if (width, height) != self.size:
                raise ValueError(
                    f"images of {path} must have one size, got {self.size.width} x {self.size.height} in "
                    f"{self.files[0].name} and {width} x {height} in {file.name}. Resize them."
                )

    def read(
        self, indices: Sequence[int], max_side: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Reads images one at a time, premultiplied; arguments as in `VideoReader.read`."""
        _warn_of_gaps(self.path, self.files)
        size = reduced_size(self.size, max_side)
        for index in indices:
            pixels = read_rgba(self.files[index])
            if not alpha:
                pixels[..., 3] = 255
            yield index, resize_premultiplied(premultiply(pixels), *size)


def _sorted_files(path: Path) -> list[Path]:
    """The images in the order of their numbers: 2 before 10."""
    if path.is_file():
        return [path]
    folder = path / "ref" if (path / "ref").is_dir() else path
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    if not files:
        raise ValueError(f"{folder} must hold images (png, jpg, ...), got none. Give a video or another folder.")
    names = {NUMBER.sub("#", file.stem) for file in files if NUMBER.search(file.stem)}
    if len(names) > 1:
        raise ValueError(
            f"{folder} must hold one numbered sequence of images, got names like {' and '.join(sorted(names)[:3])}. "
            "Move the other images to another folder."
        )
    return sorted(files, key=natural_key)


def _warn_of_gaps(path: Path, files: list[Path]) -> None:
    """Says so where numbers are missing: the frames around a gap follow each other as if there were none."""
    numbers = [[int(part) for part in NUMBER.findall(file.stem)] for file in files]
    steps = [after[-1] - before[-1] for before, after in pairwise(numbers) if before and before[:-1] == after[:-1]]
    if not steps or max(steps) < 2 * min(steps):  # evenly chosen frames have numbers that differ by rounding
        return
    first = next(index for index, step in enumerate(steps) if step >= 2 * min(steps))
    message = (
        f"Numbers are missing between the images of {path}, first after {files[first].name}: all images are taken as "
        "evenly spaced in time. Add the missing ones, or number the images anew."
    )
    notify(Warned("input", message))
