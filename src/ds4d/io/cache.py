"""What took long to compute, kept on disk between runs and found by what it was made of."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ds4d.core import Warned, notify
from ds4d.io.atomic import atomic_path

LIMIT_BYTES = 4 * 2**30
_SUFFIX = ".safetensors"


def cache_folder(room: str) -> Path:
    """Where a room's tensors are kept: in the folder that the environment's DS4D_CACHE names, or in ~/.cache/ds4d."""
    return Path(os.environ.get("DS4D_CACHE") or "~/.cache/ds4d").expanduser() / room


def read_cached(room: str, key: str) -> dict[str, Tensor] | None:
    """The tensors kept under a key, by name; None where there are none, or the file is damaged."""
    path = cache_folder(room) / f"{key}{_SUFFIX}"
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            digest = (file.metadata() or {}).get("sha256")
        if digest != _digest(tensors):
            return None
        os.utime(path)  # when it was last used
    except (SafetensorError, OSError):
        return None
    return tensors


def write_cached(room: str, key: str, tensors: Mapping[str, Tensor], *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keeps tensors under a key and removes the room's longest unused ones until all together lie below the limit.

    A folder that cannot be written to is a warning: the tensors are there, only not for the next run.

    Args:
        room: what the tensors are; each room has a folder and a limit of its own.
        key: a file name's worth of letters.
        tensors: on the CPU, by name.
        limit_bytes: for all of the room's files together; what is larger alone is not kept.
    """
    if sum(tensor.nbytes for tensor in tensors.values()) >= limit_bytes:
        return
    path = cache_folder(room) / f"{key}{_SUFFIX}"
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(whole, temporary, metadata={"sha256": _digest(whole)})
        _make_room(path.parent, limit_bytes)
    except (SafetensorError, OSError) as error:
        message = (
            f"{room} are not kept in {path.parent}: {error}. Set the environment variable DS4D_CACHE to a folder that "
            "can be written to."
        )
        notify(Warned("cache", message))


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


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
