"""Colors for the back of an object: a smooth interpolation of the colors at the mask boundary."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

_SWEEPS = 12  # Jacobi iterations per pyramid level


def fill_from_rim(
    colors: Float[Tensor, "T 3 H W"], inside: Bool[Tensor, "T H W"], *, blur: float
) -> Float[Tensor, "T 3 H W"]:
    """The harmonic function inside each mask with the colors of the image, blurred, at its boundary.

    Args:
        colors: straight colors in [0, 1].
        inside: masks.
        blur: standard deviation of the blur along the boundary, pixels.
    """
    rim = (inside & ~_eroded(inside)).float()[:, None]
    weight = _blurred(rim, blur)
    known = _blurred(colors * rim, blur) / weight.clamp_min(1e-6)
    return harmonic_fill(known, rim)


def harmonic_fill(values: Float[Tensor, "T C H W"], known: Float[Tensor, "T 1 H W"]) -> Float[Tensor, "T C H W"]:
    """Solves Laplace's equation approximately: each unknown value becomes the mean of its four neighbors.

    Coarse to fine over an image pyramid, with a few Jacobi iterations per level. Borders are replicated.

    Args:
        values: values, used where known.
        known: above 0 where a value is known; its weight in the coarser levels.
    """
    height, width = values.shape[-2:]
    if height == width == 1:
        return torch.where(known > 0, values, 0.5)
    to_even = (0, width % 2, 0, height % 2)
    weights = F.avg_pool2d(F.pad(known, to_even), 2)
    coarse = F.avg_pool2d(F.pad(values * known, to_even), 2) / weights.clamp_min(1e-8)
    filled = F.interpolate(harmonic_fill(coarse, weights), scale_factor=2, mode="bilinear")[..., :height, :width]
    for _ in range(_SWEEPS):
        filled = torch.where(known > 0, values, filled)
        padded = F.pad(filled, (1, 1, 1, 1), mode="replicate")
        across, down = padded[..., 1:-1, :], padded[..., 1:-1]
        filled = 0.25 * (across[..., :-2] + across[..., 2:] + down[..., :-2, :] + down[..., 2:, :])
    return torch.where(known > 0, values, filled)


def _eroded(inside: Bool[Tensor, "T H W"]) -> Bool[Tensor, "T H W"]:
    """Masks without the pixels at their boundary."""
    return F.max_pool2d((~inside).float()[:, None], 3, stride=1, padding=1)[:, 0] == 0


def _blurred(values: Float[Tensor, "T C H W"], sigma: float) -> Float[Tensor, "T C H W"]:
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    for axis in (-1, -2):
        moved = values.movedim(axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        values = F.conv1d(flat, kernel, padding=radius).view(moved.shape).movedim(-1, axis)
    return values
