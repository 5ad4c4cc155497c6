"""Sharing a kernel's work among threads."""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_MOST_THREADS = 256  # threads are only started when needed
_PIECES_PER_THREAD = 4  # more even out the load, fewer cost less to hand out


def share(kernel: Callable[..., None], items: int, grain: int, *args: Any) -> None:
    """Calls kernel(first, end, *args) until all of range(items) is done, on torch.get_num_threads() threads.

    The kernel must release the GIL and treat items independently. Plain threads serve better here than numba's parallel
    loops: those bring an OpenMP pool beside torch's whose idle threads spin on the cores the other wants, and which
    does not survive a fork.

    Args:
        kernel: the work.
        items: their number.
        grain: items worth handing to another thread, some 100 microseconds of work.
        args: the same for every call.
    """
    threads = torch.get_num_threads()
    pieces = max(1, min(items // grain, threads * _PIECES_PER_THREAD))
    numbers = itertools.count()

    def work() -> None:
        while (number := next(numbers)) < pieces:
            kernel(items * number // pieces, items * (number + 1) // pieces, *args)

    helpers = [_pool(os.getpid()).submit(work) for _ in range(min(threads, pieces) - 1)]
    work()
    for helper in helpers:
        helper.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process; a forked child has none and makes its own."""
    return ThreadPoolExecutor(max_workers=_MOST_THREADS, thread_name_prefix=f"ds4d-{process}")
