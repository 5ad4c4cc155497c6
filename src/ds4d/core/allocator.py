"""The C library's allocator, from which torch takes the memory of tensors on the CPU.

glibc gives memory back to the system as soon as some megabytes at the end of its heap are free, and takes large blocks
from the system one by one. The steps of a fit allocate the same tensors again and again: the system clears thousands
of pages for each step, a tenth of its time.
"""

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

# Options of `mallopt` (malloc.h of glibc), and their values at the start of a process.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_DEFAULT_BYTES = 128 * 2**10
_KEPT_BYTES = 2**30  # the largest that a signed 32-bit number holds as a power of 2


@contextmanager
def freed_memory_kept() -> Generator[None, None, None]:
    """Inside the block, freed memory is used again before the system is asked for more; then it is given back.

    Does nothing where the C library is another than glibc.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, _DEFAULT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, _DEFAULT_BYTES)
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
