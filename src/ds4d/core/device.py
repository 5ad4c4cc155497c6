"""The one choice of a device: made for the user at the start, and followed by everything else."""

import importlib.util
import warnings
from typing import Literal

import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> torch.device:
    """The device to work on.

    Args:
        name: `auto` takes CUDA where there is such a device and the extra `cuda` is installed, else the CPU.

    Raises:
        ValueError: CUDA is asked for and absent.
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
        warnings.warn(
            "a CUDA device is there, but not the extra `cuda`: working on the CPU. "
            "Install it with: pip install 'ds4d[cuda]'",
            stacklevel=2,
        )
        return torch.device("cpu")
    return torch.device("cuda")
