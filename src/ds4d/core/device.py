"""The choice of the device, made once at the start and followed by everything else."""

import functools
import importlib.util
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

from ds4d import OPENMP_SPINS
from ds4d.core.notices import Degraded, Warned, notify
from ds4d.core.versions import install_command

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> torch.device:
    """The device to work on.

    Args:
        name: name of the device; `auto` is CUDA where there is a device and gsplat is installed, else the CPU.

    Raises:
        ValueError: CUDA is requested and absent.
    """
    device = _find_device(name)
    if device.type == "cpu" and OPENMP_SPINS and torch.get_num_threads() > 1:
        _warn_of_spinning_threads()
    return device


def describe_device(device: torch.device) -> str:
    """The name of a GPU, or the number of threads on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _find_device(name: DeviceName) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if name == "cuda":
            raise ValueError(
                "device must be cpu or auto here, got cuda: torch finds no CUDA device. Check the driver "
                "(`ds4d info`), or leave --device out."
            )
        return torch.device("cpu")
    if name == "auto" and importlib.util.find_spec("gsplat") is None:
        message = f"the CUDA device is not used: gsplat is not installed. Install it with: {install_command('cuda')}"
        notify(Degraded("device", message))
        return torch.device("cpu")
    return torch.device("cuda")


@functools.cache
def _warn_of_spinning_threads() -> None:
    message = (
        "torch was imported before ds4d, so that its idle threads spin on the cores which ds4d needs: fits and images "
        "take up to several times as long. Import ds4d first, or set OMP_WAIT_POLICY=PASSIVE before Python starts."
    )
    notify(Warned("threads", message))


@contextmanager
def matmul_precision(precision: Literal["highest", "high"]) -> Generator[None, None, None]:
    """Within the block products of float32 matrices are exact (`highest`) or may use TF32 (`high`) on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
