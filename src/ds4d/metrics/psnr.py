"""Peak signal-to-noise ratio."""

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_MSE = 1e-6  # an image counts at most 60 dB, so that one perfect frame does not carry the mean


def psnr(images: Float[Tensor, "*batch 3 H W"], targets: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch"]:
    """Decibels per image for colors in [0, 1], at most 60: -10 log10 of the mean squared error."""
    error = (images - targets).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(error.clamp_min(LEAST_MSE))
