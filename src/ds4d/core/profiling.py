"""The time and memory that a run takes."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up seconds by name.

    Attributes:
        seconds: so far, by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Generator[None, None, None]:
        """Counts the block's time under `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most bytes in use so far: by the process in main memory, and by its tensors on a GPU.

    Systems that do not tell (Windows) are left out.
    """
    peaks = {}
    try:
        import resource
    except ImportError:
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peaks["main"] = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if device.type == "cuda":
        peaks["gpu"] = torch.cuda.max_memory_allocated(device)
    return peaks
