"""What every splatter back end asks of its input."""

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Cameras, Gaussians


def check_axes(owner: str, gaussians: Gaussians, cameras: Cameras, backgrounds: Float[Tensor, "*T V 3"] | None) -> None:
    """Raises ValueError unless Gaussians, cameras and backgrounds agree on the time and view axes."""
    times, views = gaussians.means.shape[:-2], cameras.viewmats.shape[:-3]
    if times != views:
        raise ValueError(
            f"{owner}: cameras must have the leading axes {list(times)} of means, got {list(views)}. "
            "Expand the one that stands still."
        )
    want = (*cameras.viewmats.shape[:-2], 3)
    if backgrounds is not None and backgrounds.shape != want:
        raise ValueError(f"{owner}: backgrounds must have shape {list(want)}, got {list(backgrounds.shape)}.")


def refuse_nan(owner: str, gaussians: Gaussians, cameras: Cameras) -> None:
    """Raises ValueError if anything to be drawn is not a number. Waits for the device, so not for use on a GPU."""
    for name in ("means", "quats", "scales", "opacities", "sh", "viewmats", "Ks"):
        tensor = getattr(cameras if name in ("viewmats", "Ks") else gaussians, name)
        if _may_hold_nan(tensor.detach()) and tensor.isnan().any():
            raise ValueError(f"{owner}: {name} must be numbers, got NaN. Look for the step that diverged.")


def _may_hold_nan(tensor: Tensor) -> bool:
    """Whether the sum is not finite: cheaper than looking at each number, and NumPy does not wake torch's threads."""
    with np.errstate(all="ignore"):
        total = tensor.numpy().sum() if tensor.device.type == "cpu" else tensor.sum().item()
    return not math.isfinite(total)
