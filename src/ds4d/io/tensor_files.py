"""Safetensors files: bounded reading of files from outside, and files with a digest, by which damage is noticed."""

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ds4d.core import blocks_of, large_tensor
from ds4d.core.large_arrays import LIMIT_BYTES
from ds4d.io.atomic import atomic_path
from ds4d.io.bounded_files import check_regular

DIGEST = "sha256"  # its key among the texts of a file
_MAX_BYTES = 2**35
_MAX_HEADER_BYTES = 2**24  # the format allows 100 MB, which take gigabytes when they are parsed
_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_DTYPES |= {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
_DTYPES |= {torch.bool: "BOOL"}


class DamagedFileError(ValueError):
    """A file of tensors that is not as it was written."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors to a safetensors file, atomically and so that it survives a power cut.

    Args:
        path: path of the file.
        tensors: tensors by name, on any device.
        metadata: texts to keep with them.
    """
    with atomic_path(path, durable=True) as temporary:
        write_parts(temporary, encode_tensors(tensors, metadata))


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Writes a file part by part."""
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)


def encode_tensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The content of the file that `write_tensors` writes, in parts: tensors may be larger than the memory."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    yield from encode_safetensors(plain, {**texts, DIGEST: digest_of(plain, texts)})


def encode_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, in parts; the library would make a copy of all tensors.

    Args:
        tensors: tensors on the CPU by name.
        metadata: texts to keep with them.
    """
    # Wide types come first, as in files of the library, so that all values are aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    yield len(encoded).to_bytes(8, "little") + encoded
    for _, tensor in ordered:
        yield from bytes_of(tensor)


def bytes_of(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor on the CPU, in blocks."""
    for block in blocks_of(tensor.contiguous()):
        yield block.view(torch.uint8).numpy().data


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and texts of a safetensors file, which is compared with its digest; other programs write none.

    Raises:
        DamagedFileError: `read_safetensors` refuses it, or it differs from what was written.
        OSError: it cannot be read.
    """
    try:
        tensors, metadata = read_safetensors(path)
    except ValueError as error:
        raise DamagedFileError(str(error)) from error
    texts = {name: text for name, text in metadata.items() if name != DIGEST}
    if DIGEST in metadata and metadata[DIGEST] != digest_of(tensors, texts):
        raise DamagedFileError("its content does not match its digest")
    return tensors, metadata


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file on the CPU by name, and its metadata.

    The format itself bounds the memory: what the tensors take is what the file has.

    Raises:
        ValueError: the path leads to no file, or to one that is damaged, incomplete or of another format; or a tensor
            is of a kind that is not computed with, such as complex or 8-bit floating-point numbers. The message names
            the path.
        OSError: there is nothing at the path, or it cannot be read.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = dict(file.metadata() or {})
        tensors = _without_large(path, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"{path}: {name} must hold numbers of a common kind, got {tensor.dtype}. Convert it.")
    return tensors, metadata


def _without_large(path: str | Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, the large ones as large tensors: the library maps the file, and its pages stay."""
    large = [name for name, tensor in tensors.items() if tensor.nbytes > LIMIT_BYTES and tensor.dtype in _DTYPES]
    if not large:
        return tensors
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))  # the library has read it, too
        for name in large:
            tensor = large_tensor(tensors[name].shape, tensors[name].dtype)
            file.seek(8 + length + header[name]["data_offsets"][0])
            for block in bytes_of(tensor):
                if file.readinto(block) != len(block):
                    raise ValueError("it became shorter while it was read")
            tensors[name] = tensor
    return tensors


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, by name, read from its header.

    Raises:
        ValueError: as `read_safetensors`.
        OSError: there is nothing at the path, or it cannot be read.
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; in little memory."""
    # A sum is thirty times as fast. It is finite only if all values are; where it is not, it may have overflowed.
    return all(bool(part.sum().isfinite()) or bool(part.isfinite().all()) for part in blocks_of(tensor))


def digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes and values of tensors on the CPU, and of texts."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        for block in bytes_of(tensor):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _opened(path: str | Path) -> Generator[safe_open, None, None]:
    size = check_regular(path, max_bytes=_MAX_BYTES)
    try:
        with open(path, "rb") as head:
            if int.from_bytes(head.read(8), "little") > min(size, _MAX_HEADER_BYTES):
                raise ValueError("its header is damaged")
            # The library takes no names that are not UTF-8; the name of an open file always is.
            is_utf8 = str(path).isascii() or os.fsencode(path).decode("utf-8", "replace").encode() == os.fsencode(path)
            with safe_open(str(path) if is_utf8 else f"/dev/fd/{head.fileno()}", framework="pt") as file:
                yield file
    except (SafetensorError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file, got one that cannot be read ({error}). Make it again."
        ) from error
