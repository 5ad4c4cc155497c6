"""Compiled kernels on several threads, and operations of torch with the same bits for any number of threads."""

import contextvars
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 256  # threads are only started when needed
_DONE_BY_ONE_THREAD = 32768  # values: torch's at::internal::GRAIN_SIZE
_CHUNKS_PER_THREAD = 4  # more balance the load better, fewer cost less to schedule


def parallel_for(kernel: Callable[..., None], items: int, grain: int, *args: Any) -> None:
    """Calls kernel(first, end, *args) until all of range(items) is done, on torch.get_num_threads() threads.

    The kernel must release the GIL and treat items independently. Plain threads serve better here than numba's parallel
    loops: those bring a second OpenMP pool beside torch's, whose idle threads spin on the cores that the other needs,
    and which does not survive a fork.

    Args:
        kernel: function that does items first to end - 1.
        items: number of items.
        grain: number of items worth handing to another thread, some 100 microseconds of work.
        args: further arguments, the same for every call.
    """
    threads = torch.get_num_threads()
    chunks = max(1, min(items // grain, threads * _CHUNKS_PER_THREAD))
    numbers = itertools.count()

    def work() -> None:
        while (number := next(numbers)) < chunks:
            kernel(items * number // chunks, items * (number + 1) // chunks, *args)

    # A kernel that is compiled may give a notice, whose listener is in the context.
    others = [_pool(os.getpid()).submit(contextvars.copy_context().run, work) for _ in range(min(threads, chunks) - 1)]
    work()
    for other in others:
        other.result()


def map_on_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The function of each item, in order; each is computed by one thread, with the same bits for any number of them.

    The calls run on torch.get_num_threads() threads of their own. What torch keeps by thread, such as `no_grad`, the
    function sets itself.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(min(threads, max(1, len(items))), "ds4d-map", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)  # a thread that starts later takes the number that was last set anywhere


def mean(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """The mean of all values, on the CPU with the same bits for any number of threads.

    torch divides a sum of many values among its threads, but not one along an axis of several sums.
    """
    if values.is_cuda or values.numel() <= _DONE_BY_ONE_THREAD:
        return values.mean()
    for _ in range(values.dim()):
        values = values.mean(-1)
    return values


def sigmoid(values: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Sigmoid of each value, on the CPU with the same bits for any number of threads."""
    return elementwise(torch.sigmoid, values)


def elementwise(function: Callable[[Tensor], Tensor], values: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """A function of each value, on the CPU with the same bits for any number of threads.

    torch's sigmoid, SiLU and GELU compute the last values of a thread's share, those that do not fill a vector
    register, by other instructions than the rest, and these round differently. So the shares are fixed here.
    """
    if values.is_cuda or values.numel() <= _DONE_BY_ONE_THREAD:
        return function(values)
    shares = values.reshape(-1).split(_DONE_BY_ONE_THREAD)
    return torch.cat([function(share) for share in shares]).view(values.shape)


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process; a forked child has none and makes its own."""
    return ThreadPoolExecutor(max_workers=_MAX_THREADS, thread_name_prefix=f"ds4d-{process}")


def _use_one_thread() -> None:
    """In a forked child: torch's threads do not survive a fork, and it would wait forever for those of its parent."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)
