"""Arrays that grow with the length of a clip: in memory while they are small, else in temporary files.

The file is mapped into memory, so that an array is used like any other. It has no name and goes with the array, also if
the process is killed. The system may write mapped pages to the disk and forget them whenever memory is short; until
then they count as memory of the process. `release_pages` ends that, so loops over large arrays call it.

Temporary files are in the folder of `tempfile`, which the environment variable TMPDIR names.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from threading import Lock
from typing import Any, overload
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

LIMIT_BYTES = 2**24  # larger arrays are in files: of 32 frames of 7 views at 64 pixels, none is
_BLOCK_BYTES = 2**24  # of arrays that are worked on together

_MAPPED: "WeakSet[mmap.mmap]" = WeakSet()
_LOCK = Lock()


def large_array(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Zeros, in a temporary file if they are larger than `LIMIT_BYTES` and the disk has space for them.

    Args:
        shape: shape of the array.
        dtype: type of its values.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    mapped = _map(size) if size > LIMIT_BYTES else None
    if mapped is None:
        return np.zeros(tuple(shape), dtype)
    return np.frombuffer(mapped, dtype).reshape(tuple(shape))


def large_tensor(shape: Sequence[int], dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """`large_array` as a tensor; on another device than the CPU, zeros in its memory."""
    if device is not None and device.type != "cpu":
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    like = torch.empty(0, dtype=dtype)
    if dtype == torch.bfloat16:  # unknown to numpy
        return torch.from_numpy(large_array(shape, np.int16)).view(torch.bfloat16)
    return torch.from_numpy(large_array(shape, like.numpy().dtype))


def release_pages() -> None:
    """Removes what large arrays have in files from the memory of the process; it is read again where it is used."""
    with _LOCK:
        for mapped in _MAPPED:
            mapped.madvise(mmap.MADV_DONTNEED)


def rows_at_once(row_bytes: int) -> int:
    """How many rows of an array that grows with the clip are worked on together: all of short clips.

    Args:
        row_bytes: memory that one row takes.
    """
    return max(1, _BLOCK_BYTES // max(1, row_bytes))


def released(tensor: Tensor) -> Iterator[Tensor]:
    """Parts of a tensor along its first axis, of limited size, whose pages are released one after another."""
    # Of one view of all frames, pages hold other views, too: what counts is the distance of two rows.
    for part in tensor.split(rows_at_once(tensor.stride(0) * tensor.element_size())):
        yield part
        release_pages()


def blocks_of(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in their order as vectors of limited size, whose pages are released one after another."""
    return released(tensor.reshape(-1))


class ArrayList(MutableSequence[np.ndarray]):
    """A list of arrays, such as the frames of a clip: in files beyond `LIMIT_BYTES`.

    An array from the list may be changed in place; one that is replaced is copied where the new one is in a file.

    Args:
        arrays: what it holds at first.
    """

    def __init__(self, arrays: Iterable[np.ndarray] = ()) -> None:
        self._arrays: list[np.ndarray] = []
        self._in_memory = 0
        self._chunk, self._used = np.zeros(0, np.uint8), 0
        self._touched = 0
        self.extend(arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "list[np.ndarray]": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | list[np.ndarray]":
        found = self._arrays[index]
        if isinstance(found, np.ndarray):
            self._touch(found)
        return found

    def __setitem__(self, index: Any, array: Any) -> None:
        before = self._arrays[index]
        if before.base is None:
            self._in_memory -= before.nbytes
        elif before.shape == array.shape and before.dtype == array.dtype:
            before[...] = array
            self._touch(before)
            return
        self._arrays[index] = self._stored(array)

    def __delitem__(self, index: Any) -> None:
        raise TypeError("arrays of a clip are replaced, not removed.")

    def insert(self, index: int, value: np.ndarray) -> None:
        """Inserts an array."""
        self._arrays.insert(index, self._stored(value))

    def stacked(self) -> np.ndarray:
        """All arrays, of one shape and type, as one."""
        out = large_array((len(self), *self[0].shape), self[0].dtype)
        for row, array in zip(out, self, strict=True):
            row[...] = array
        release_pages()
        return out

    def _stored(self, array: np.ndarray) -> np.ndarray:
        if self._in_memory + array.nbytes <= LIMIT_BYTES:
            self._in_memory += array.nbytes
            return array if array.base is None else array.copy()
        start = -(-self._used // 64) * 64
        if start + array.nbytes > len(self._chunk):
            self._chunk, start = large_array((max(array.nbytes, LIMIT_BYTES + 1),), np.uint8), 0
        self._used = start + array.nbytes
        stored = self._chunk[start : self._used].view(array.dtype).reshape(array.shape)
        stored[...] = array
        self._touch(stored)
        return stored

    def _touch(self, array: np.ndarray) -> None:
        """Releases the pages of arrays in files from time to time."""
        if array.base is not None:
            self._touched += array.nbytes
            if self._touched > _BLOCK_BYTES:
                self._touched = 0
                release_pages()


def _map(size: int) -> mmap.mmap | None:
    """A temporary file of a size, mapped into memory; None if there is no space for it, or no way to release it."""
    if not hasattr(mmap.mmap, "madvise"):  # Windows
        return None
    try:
        with tempfile.TemporaryFile(prefix="ds4d-") as file:
            _reserve(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError:
        return None
    with _LOCK:
        _MAPPED.add(mapped)
    return mapped


def _reserve(number: int, size: int) -> None:
    """Makes a file this large. With less space, writing to the mapping would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(number, 0, size)
    else:  # macOS
        os.ftruncate(number, size)
        free = os.fstatvfs(number)
        if free.f_bavail * free.f_frsize < 2 * size:
            raise OSError("There is no space")
