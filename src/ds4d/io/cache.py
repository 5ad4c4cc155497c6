"""A disk cache for results that take long to compute, keyed by their inputs."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ds4d.core import Warned, notify
from ds4d.io.atomic import atomic_path
from ds4d.io.paths import cache_folder
from ds4d.io.tensor_files import bytes_of, encode_safetensors, is_finite, read_safetensors, write_parts

LIMIT_BYTES = 4 * 2**30
_SUFFIX = ".safetensors"


def read_cached(category: str, key: str) -> dict[str, Tensor] | None:
    """The tensors that are cached under a key, by name; None if there are none, or the file is damaged or not finite.

    Who wrote the file is not known: callers check names, shapes and kinds of the tensors.
    """
    try:
        path = cache_folder(category) / f"{key}{_SUFFIX}"
        tensors, metadata = read_safetensors(path)
        if metadata.get("sha256") != _digest(tensors):
            return None
        if not all(is_finite(tensor) for tensor in tensors.values()):
            return None
        os.utime(path)  # the time of the last use
    except (ValueError, OSError):
        return None
    return tensors


def write_cached(category: str, key: str, tensors: Mapping[str, Tensor], *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Caches tensors under a key, then removes the category's least recently used files down to the limit.

    A folder that cannot be written to gives a notice: the tensors are only missing in the next run.

    Args:
        category: what the tensors are; each category has a folder and a limit of its own.
        key: identifier of the inputs, used as a file name.
        tensors: tensors on the CPU, by name.
        limit_bytes: limit of all files of the category together; larger tensors are not cached.
    """
    if sum(tensor.nbytes for tensor in tensors.values()) >= limit_bytes:
        return
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        path = cache_folder(category) / f"{key}{_SUFFIX}"
        with atomic_path(path) as temporary:
            write_parts(temporary, encode_safetensors(contiguous, {"sha256": _digest(contiguous)}))
        _evict(path.parent, limit_bytes)
    except OSError as error:
        message = (
            f"{category} are not cached: {error}. Set the environment variable DS4D_CACHE to a folder that can be "
            "written to."
        )
        notify(Warned("cache", message))


def _evict(folder: Path, limit_bytes: int) -> None:
    """Removes the least recently used files until the rest is below the limit."""
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            status = path.stat()
        except FileNotFoundError:  # removed by another process
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
        for block in bytes_of(tensors[name]):
            digest.update(block)
    return digest.hexdigest()
