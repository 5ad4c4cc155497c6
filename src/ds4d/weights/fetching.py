"""Downloads of single files, on request only: hash and size are known before, and the file is whole or absent."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ds4d.core import tracked
from ds4d.io import atomic_path, cache_folder
from ds4d.weights.models import Download

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20  # bytes


def download_folder(name: str) -> Path:
    """The folder that a model is downloaded into: in $DS4D_WEIGHTS, or in the cache without it."""
    root = os.environ.get("DS4D_WEIGHTS")
    return (Path(os.path.expanduser(root)) if root else cache_folder("weights")) / name


def fetch(download: Download, folder: Path) -> Path:
    """Downloads a file, checks it, and moves it into a folder.

    Args:
        download: the file.
        folder: its folder, which is created.

    Returns:
        The path of the file.

    Raises:
        ValueError: what came is not the file; nothing is kept.
        OSError: it cannot be downloaded or written.
    """
    path = folder / download.file
    digest = hashlib.sha256()
    size = 0
    with urllib.request.urlopen(download.url, timeout=_TIMEOUT) as answer, atomic_path(path, durable=True) as temporary:
        with temporary.open("wb") as file:
            chunks = _chunks(answer, download.size)
            for chunk in tracked(chunks, f"downloading {path.name}", -(-download.size // _CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        if (size, digest.hexdigest()) != (download.size, download.sha256):
            raise ValueError(
                f"{download.url} must give {download.size} bytes with SHA-256 {download.sha256}, got {size} bytes with "
                f"{digest.hexdigest()}. Nothing was kept; try again, or get the file elsewhere and compare its hash."
            )
    return path


def _chunks(answer: BinaryIO, size: int) -> Iterator[bytes]:
    """What comes, up to one chunk more than expected."""
    for _ in range(size // _CHUNK + 2):
        if not (chunk := answer.read(_CHUNK)):
            return
        yield chunk
