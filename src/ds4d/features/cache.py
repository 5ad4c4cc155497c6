"""Feature maps kept on disk between runs, found by what they were made of."""

import hashlib
import os
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ds4d.imaging import atomic_path

LIMIT_BYTES = 4 * 2**30
_SUFFIX = ".safetensors"


def cache_folder() -> Path:
    """Where maps are kept: `features` in the folder that the environment's DS4D_CACHE names, or in ~/.cache/ds4d."""
    return Path(os.environ.get("DS4D_CACHE") or "~/.cache/ds4d").expanduser() / "features"


def read_cached(key: str) -> Float[Tensor, "T V C h w"] | None:
    """The maps kept under a key; None where there are none, or the file is damaged."""
    path = cache_folder() / f"{key}{_SUFFIX}"
    try:
        with safe_open(path, "pt") as file:
            maps, digest = file.get_tensor("maps"), (file.metadata() or {}).get("sha256")
        if digest != _digest(maps):
            return None
        os.utime(path)  # when it was last used
    except (SafetensorError, OSError):
        return None
    return maps


def write_cached(key: str, maps: Float[Tensor, "T V C h w"], *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keeps maps under a key and removes the longest unused ones until all together lie below the limit.

    A folder that cannot be written to is a warning: the maps are there, only not for the next run.

    Args:
        key: a file name's worth of letters.
        maps: on the CPU.
        limit_bytes: for all files together; maps larger than it are not kept.
    """
    if maps.nbytes >= limit_bytes:
        return
    path = cache_folder() / f"{key}{_SUFFIX}"
    try:
        with atomic_path(path) as temporary:
            save_file({"maps": maps.contiguous()}, temporary, metadata={"sha256": _digest(maps)})
        _make_room(path.parent, limit_bytes)
    except (SafetensorError, OSError) as error:
        warnings.warn(
            f"feature maps are not kept in {path.parent}: {error}. Name a folder that can be written to in the "
            "environment variable DS4D_CACHE.",
            stacklevel=3,
        )


def _make_room(folder: Path, limit_bytes: int) -> None:
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process made room first
            continue
        files.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total < limit_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size


def _digest(maps: Tensor) -> str:
    return hashlib.sha256(maps.contiguous().view(torch.uint8).numpy()).hexdigest()
