"""Where the attempts of a worker run: in processes of this machine."""

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Protocol, runtime_checkable

from ds4d.batch.attempt import Job, Result, attempt


@runtime_checkable
class Executor(Protocol):
    """Runs attempts, several at a time.

    Attributes:
        slots: how many may be under way at once.
    """

    slots: int

    def submit(self, job: Job) -> Future:
        """Begins an attempt; the future holds its `Result`."""
        ...

    def stop(self, name: str) -> None:
        """Ends the attempt at an object, which then has the status `stopped`."""
        ...

    def close(self) -> None:
        """Ends all attempts, and waits for them."""
        ...


class ProcessExecutor:
    """Attempts in processes of this machine; a thread watches over each.

    Args:
        slots: how many run at once; they share the cores, and each GPU serves every so many of them.
        devices: the GPUs, as values of CUDA_VISIBLE_DEVICES; empty: whatever the processes see.
        attempt: does one attempt; another one in tests.
    """

    def __init__(
        self,
        slots: int,
        devices: tuple[str, ...] = (),
        attempt: Callable[[Job, Callable[[], bool]], Result] = attempt,
    ) -> None:
        self.slots = slots
        self._attempt = attempt
        self._threads = max(1, _cores() // slots) if slots > 1 else None
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="ds4d-batch")
        self._free: SimpleQueue[str | None] = SimpleQueue()
        for slot in range(slots):
            self._free.put(devices[slot % len(devices)] if devices else None)
        self._stops: dict[str, threading.Event] = {}

    def submit(self, job: Job) -> Future:
        """See `Executor`."""
        stop = self._stops[job.item.name] = threading.Event()
        return self._pool.submit(self._run, job, stop)

    def stop(self, name: str) -> None:
        """See `Executor`."""
        if name in self._stops:
            self._stops[name].set()

    def close(self) -> None:
        """See `Executor`."""
        for stop in list(self._stops.values()):
            stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job, stop: threading.Event) -> Result:
        device = self._free.get()
        try:
            return self._attempt(replace(job, device=device, threads=self._threads), stop.is_set)
        finally:
            self._free.put(device)
            self._stops.pop(job.item.name, None)


def visible_devices() -> tuple[str, ...]:
    """The GPUs of this process, each as a value of CUDA_VISIBLE_DEVICES; empty where there is one at most."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = named.split(",") if named is not None else [str(number) for number in range(_num_devices())]
    return tuple(devices) if len(devices) > 1 else ()


def _num_devices() -> int:
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:  # no driver, which a second of importing torch would only confirm
        return 0
    import torch

    return torch.cuda.device_count()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
