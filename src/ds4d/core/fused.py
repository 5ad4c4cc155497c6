"""Which parts of a training step run as a few kernels of their own on a GPU, in place of many tensor operations.

The kernels are written in Triton (`*_cuda_kernel.py`), which comes with torch for CUDA; where it is missing, and on
tensors that it does not take, the tensor form runs. They add by atomic operations, so that repeated runs on a GPU
differ in the last digits, as those of the tensor form do.
"""

import functools
import importlib.util
import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from ds4d.core.notices import Degraded, notify

FUSED_PARTS = (
    *("hexplane", "fusion", "heads", "gaussians"),
    *("image_losses", "plane_losses", "rigidity", "density", "adam"),
)
"""What can run fused: reads of the HexPlane; TSSF's reads and softmax; trunk and heads of the field; activation of the
moved Gaussians; l1, mse, ssim and mask; smoothness of the planes; rigidity; the sums that densification goes by; the
optimizer."""

# The parts that are on: those that `benchmarks/fused_parts.py` has found right and faster on a GPU.
_ON: set[str] = set(FUSED_PARTS)


def is_fused(part: str, *tensors: Tensor) -> bool:
    """Whether a part runs as kernels of its own: it is on, Triton is there, and it takes these tensors.

    Args:
        part: one of `FUSED_PARTS`.
        tensors: what the kernels are to read: float32 on a CUDA device, or anywhere under Triton's interpreter.
    """
    return part in _ON and bool(tensors) and all(map(_is_taken, tensors)) and has_triton()


def parts_on() -> frozenset[str]:
    """The parts that are on, whatever tensors come."""
    return frozenset(_ON)


@contextmanager
def fused_parts(*parts: str) -> Generator[None, None, None]:
    """Within the block these parts are on and no others.

    Raises:
        ValueError: a name is none of `FUSED_PARTS`.
    """
    if unknown := set(parts) - set(FUSED_PARTS):
        raise ValueError(
            f"fused_parts: names must be among {', '.join(FUSED_PARTS)}, got {', '.join(sorted(unknown))}."
        )
    before = set(_ON)
    _ON.clear()
    _ON.update(parts)
    try:
        yield
    finally:
        _ON.clear()
        _ON.update(before)


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed and, where there is a GPU, can compile for it: that needs a C compiler."""
    if importlib.util.find_spec("triton") is None:
        return False
    if is_interpreted() or not torch.cuda.is_available():
        return True
    try:
        from triton.runtime import driver

        driver.active.get_current_target()
    except Exception as error:  # of a compiler, the driver or the file system
        message = (
            f"Triton cannot be used ({str(error) or type(error).__name__}): steps run as tensor operations, which take "
            "longer. Install a C compiler, for instance gcc."
        )
        notify(Degraded("kernels", message))
        return False
    return True


def is_interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on any device (`TRITON_INTERPRET=1`)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _is_taken(tensor: Tensor) -> bool:
    if tensor.is_cuda and not is_interpreted() and tensor.device.index != torch.cuda.current_device():
        return False  # Triton runs on the current device
    return tensor.dtype == torch.float32 and (tensor.is_cuda or is_interpreted())
