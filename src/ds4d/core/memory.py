"""Peaks of memory use within one process, measured fit by fit."""

from pathlib import Path

import torch

# Linux keeps the peak of the main memory here and forgets it when asked; getrusage has no way to forget.
_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"


def reset_peaks(device: torch.device) -> None:
    """Lets the peaks begin anew from what is in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if _FORGET.exists():
        try:
            _FORGET.write_text(_FORGET_PEAK)
        except OSError:  # some containers do not allow it; then the peak is that of the process
            return


def peaks(device: torch.device) -> dict[str, int]:
    """The most bytes in use since `reset_peaks`: `main`, of the process, where the system tells; `gpu`, of tensors."""
    found = {}
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            found["main"] = 1024 * int(fields["VmHWM"].split()[0])
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated(device)
    return found
