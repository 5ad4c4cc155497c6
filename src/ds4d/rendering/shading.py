"""The color each camera sees of each Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import evaluate_sh
from ds4d.types import Cameras, Gaussians


def view_colors(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "*lead N 3"]:
    """Colors, at least 0, that broadcast to [*T, V, N, 3]: axes along which they are all the same have size 1."""
    sh = gaussians.sh[..., None, :, :, :]
    if sh.shape[-2] == 1:  # degree 0 looks the same from everywhere
        return evaluate_sh(sh, gaussians.means.new_ones(3))
    centers = torch.linalg.inv(cameras.viewmats)[..., :3, 3]
    return evaluate_sh(sh, gaussians.means[..., None, :, :] - centers[..., None, :])
