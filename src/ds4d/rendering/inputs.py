"""What all renderers do with their inputs: checks, and the color of each Gaussian in each view."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import evaluate_sh
from ds4d.types import Cameras, Gaussians


def check_axes(owner: str, gaussians: Gaussians, cameras: Cameras, backgrounds: Float[Tensor, "*T V 3"] | None) -> None:
    """Checks that Gaussians, cameras and backgrounds have the same time and view axes.

    Raises:
        ValueError: they differ.
    """
    times, views = gaussians.means.shape[:-2], cameras.viewmats.shape[:-3]
    if times != views:
        raise ValueError(
            f"{owner}: cameras must have the leading axes {list(times)} of means, got {list(views)}. "
            "Expand the static one."
        )
    expected = (*cameras.viewmats.shape[:-2], 3)
    if backgrounds is not None and backgrounds.shape != expected:
        raise ValueError(
            f"{owner}: backgrounds must have shape {list(expected)}, got {list(backgrounds.shape)}. Expand them."
        )


def check_no_nan(owner: str, gaussians: Gaussians, cameras: Cameras) -> None:
    """Checks that no input is NaN, which waits for the device and so is too slow for a GPU.

    Raises:
        ValueError: a value is NaN.
    """
    for name in ("means", "quats", "scales", "opacities", "sh", "viewmats", "Ks"):
        tensor = getattr(cameras if name in ("viewmats", "Ks") else gaussians, name)
        if _may_contain_nan(tensor.detach()) and tensor.isnan().any():
            raise ValueError(f"{owner}: {name} must be numbers, got NaN. Find the step that diverged.")


def view_colors(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "*lead N 3"]:
    """Colors, at least 0, that broadcast to [*T, V, N, 3]: axes along which they are constant have size 1."""
    sh = gaussians.sh[..., None, :, :, :]
    if sh.shape[-2] == 1:  # degree 0 does not depend on the view
        return evaluate_sh(sh, gaussians.means.new_ones(3))
    centers = torch.linalg.inv(cameras.viewmats)[..., :3, 3]
    return evaluate_sh(sh, gaussians.means[..., None, :, :] - centers[..., None, :])


def _may_contain_nan(tensor: Tensor) -> bool:
    """Whether the sum is not finite: faster than checking each number, and NumPy does not wake torch's threads."""
    with np.errstate(all="ignore"):
        total = tensor.numpy().sum() if tensor.device.type == "cpu" else tensor.sum().item()
    return not math.isfinite(total)
