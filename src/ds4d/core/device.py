"""The choice of the device, made once at the start and followed by everything else."""

import importlib.util
from typing import Literal

import torch

from ds4d.core.notices import Degraded, notify

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> torch.device:
    """The device to work on.

    Args:
        name: name of the device; `auto` is CUDA where there is a device and gsplat is installed, else the CPU.

    Raises:
        ValueError: CUDA is requested and absent.
    """
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
        message = "the CUDA device is not used: gsplat is not installed. Install it with: pip install '.[cuda]'"
        notify(Degraded("device", message))
        return torch.device("cpu")
    return torch.device("cuda")


def describe_device(device: torch.device) -> str:
    """The name of a GPU, or the number of threads on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
