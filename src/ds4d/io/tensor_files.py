"""Files of tensors with a digest, by which a damaged file is noticed when it is read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ds4d.io.atomic import atomic_path

DIGEST = "sha256"  # its key among the texts of a file


class DamagedFileError(ValueError):
    """A file of tensors that is not as it was written."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors to a safetensors file, atomically and so that it survives a power cut.

    Args:
        path: path of the file.
        tensors: tensors by name, on any device.
        metadata: texts to keep with them.
    """
    content = encode_tensors(tensors, metadata)
    with atomic_path(path, durable=True) as temporary:
        temporary.write_bytes(content)


def encode_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of the file that `write_tensors` writes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    return to_bytes(plain, metadata={**texts, DIGEST: digest_of(plain, texts)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and texts of a safetensors file, which is compared with its digest; other programs write none.

    Raises:
        DamagedFileError: it is not a safetensors file, or differs from what was written.
        OSError: it cannot be read.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFileError(str(error)) from error
    texts = {name: text for name, text in metadata.items() if name != DIGEST}
    if DIGEST in metadata and metadata[DIGEST] != digest_of(tensors, texts):
        raise DamagedFileError("its content does not match its digest")
    return tensors, metadata


def digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes and values of tensors on the CPU, and of texts."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
