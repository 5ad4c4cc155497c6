"""Digests that identify a model by the content of its files."""

import hashlib
import json
import os
import time
from pathlib import Path

import torch

from ds4d.io import read_cached, write_cached
from ds4d.weights.models import PretrainedModel
from ds4d.weights.search import model_files

_BLOCK = 2**24  # bytes read at a time
_SETTLED_NS = 2_000_000_000  # a younger file may change again without another time of modification


def weights_digest(model: PretrainedModel, path: Path, *, reuse: bool = True) -> str:
    """The SHA-256 of all files of a complete model, one after the other.

    It is cached by path, size and time of modification of the files, so that gigabytes are read once.

    Args:
        model: entry of `MODELS`.
        path: folder of the model, or its single file.
        reuse: whether a cached digest may be returned.
    """
    files = model_files(model, path)
    stats = [(os.path.realpath(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in (file.stat(),)]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
    if reuse and (cached := read_cached("digests", key)) is not None:
        return bytes(cached["sha256"].tolist()).hex()
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    if all(modified < time.time_ns() - _SETTLED_NS for _, _, modified in stats):
        write_cached("digests", key, {"sha256": torch.tensor(list(digest.digest()), dtype=torch.uint8)})
    return digest.hexdigest()
