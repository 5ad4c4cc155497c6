"""Paths: endings of images and videos, the order of numbered files, the folder of the cache."""

import errno
import os
import re
from pathlib import Path

HEIC_SUFFIXES = {".heic", ".heif"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"} | HEIC_SUFFIXES
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg")  # looked for in folders
NUMBER = re.compile(r"(\d+)")


def natural_key(file: Path) -> list[tuple[int, str]]:
    """A sort key that orders the numbers in a name by value: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBER.split(file.stem)]


def cache_folder(category: str) -> Path:
    """The folder of a category of tensors, inside $DS4D_CACHE or ~/.cache/ds4d.

    Raises:
        OSError: the user has no home folder, as in containers that run under any number.
    """
    root = Path(os.environ.get("DS4D_CACHE") or "~/.cache/ds4d")
    try:
        return root.expanduser() / category
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "There is no home folder", str(root)) from error
