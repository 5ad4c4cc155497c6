"""Reading of safetensors files from outside."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ds4d.io.bounded_files import check_regular

_MAX_BYTES = 2**35
_MAX_HEADER_BYTES = 2**24  # the format allows 100 MB, which take gigabytes when they are parsed
_DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16}
_DTYPES |= {torch.int8, torch.uint8, torch.bool}
_AT_ONCE = 2**22  # values whose finiteness is checked together, which bounds the memory


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
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"{path}: {name} must hold numbers of a common kind, got {tensor.dtype}. Convert it.")
    return tensors, metadata


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
    return all(bool(part.isfinite().all()) for part in tensor.reshape(-1).split(_AT_ONCE))


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
