"""Digests that identify a model by the content of its files."""

import hashlib
import json
import time
from pathlib import Path

from ds4d.io import atomic_path, cache_folder
from ds4d.weights.models import PretrainedModel
from ds4d.weights.search import model_files

_BLOCK = 2**24  # bytes read at a time
_SETTLED_SECONDS = 2.0  # a file that changed later may change again within the resolution of its time stamps


def weights_digest(model: PretrainedModel, path: Path, *, reuse: bool = True) -> str:
    """The SHA-256 of all files of a complete model, one after the other.

    Reading gigabytes takes a while, so the digest is kept on disk and reused while the sizes and times of change of the
    files are the same.

    Args:
        model: entry of `MODELS`.
        path: folder of the model, or its single file.
        reuse: whether a digest from an earlier call may be returned.
    """
    files = model_files(model, path)
    stats = {str(file.resolve()): file.stat() for file in files}
    states = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()]
    record = cache_folder("digests") / f"{hashlib.sha256(json.dumps(states).encode()).hexdigest()}.txt"
    if reuse and record.is_file():
        return record.read_text()
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    if max(max(stat.st_mtime, stat.st_ctime) for stat in stats.values()) < time.time() - _SETTLED_SECONDS:
        _keep(record, digest.hexdigest())
    return digest.hexdigest()


def _keep(record: Path, digest: str) -> None:
    try:
        with atomic_path(record) as path:
            path.write_text(digest)
    except OSError:  # the digest is only computed again next time
        return
