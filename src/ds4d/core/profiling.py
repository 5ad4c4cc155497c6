"""Seconds and peak memory of a run."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch

# Linux keeps the peak of the main memory here, and resets it on request; getrusage cannot reset.
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class Stopwatch:
    """Adds up seconds by name.

    Attributes:
        seconds: seconds so far, by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Generator[None, None, None]:
        """Adds the block's time to `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def reset_peak_memory(device: torch.device) -> None:
    """Lets `peak_memory` start again from what is in use now.

    Main memory is only reset on Linux, and not in containers that forbid it: there its peak is that of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if _RESET.exists():
        try:
            _RESET.write_text(_RESET_PEAK)
        except OSError:
            return


def peak_memory(device: torch.device) -> dict[str, int]:
    """The peak memory use in bytes since `reset_peak_memory`, or else since the start of the process.

    Returns:
        `main`: resident memory of the process, left out where the system does not report it (Windows);
        `gpu`: memory of torch's tensors, on a CUDA device.
    """
    peaks = {}
    if (resident := _peak_resident_memory()) is not None:
        peaks["main"] = resident
    if device.type == "cuda":
        peaks["gpu"] = torch.cuda.max_memory_allocated(device)
    return peaks


def _peak_resident_memory() -> int | None:
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return 1024 * int(fields["VmHWM"].split()[0])
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
