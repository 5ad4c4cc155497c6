"""Structural similarity, differentiable."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import matmul_precision, parallel_for

RADIUS, SIGMA = 5, 1.5  # of the window, pixels
C1, C2 = 0.01**2, 0.03**2  # keep the ratios finite; for colors in [0, 1]


def ssim(a: Float[Tensor, "*B 3 H W"], b: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B"]:
    """Mean structural similarity of two images over the region where the window fits (Wang et al. 2004, Eq. 13).

    11 x 11 Gaussian window with sigma 1.5, C1 = 0.01^2, C2 = 0.03^2, mean over colors; 1 for equal images.

    Args:
        a: colors in [0, 1], at least 11 pixels wide and high.
        b: colors in [0, 1].

    Returns:
        One value in [-1, 1] per image.

    Raises:
        ValueError: the images are smaller than the window.
    """
    window = 2 * RADIUS + 1
    if min(a.shape[-2:]) < window:
        raise ValueError(
            f"ssim: images must be at least {window} pixels wide and high, got {a.shape[-1]} x {a.shape[-2]}. "
            "Use larger ones."
        )
    batch = a.shape[:-3]
    a, b = a.flatten(0, -4) if batch else a[None], b.flatten(0, -4) if batch else b[None]
    if a.dtype == b.dtype == torch.float32 and a.device.type == b.device.type == "cpu":
        planes = _PlaneSsim.apply(a.flatten(0, 1), b.flatten(0, 1))
        return planes.unflatten(0, (-1, 3)).mean(-1).reshape(batch)
    # In terms of the sum and the difference, both ratios are 1 minus a term that vanishes with the difference: four
    # blurred maps suffice instead of five, and rounding in the variances of bright images has little effect.
    total, difference = a + b, a - b
    maps = torch.cat((total, difference, total * total, difference * difference), dim=1)
    blurred = _BandBlur.apply(maps, _band(maps.shape[-2], maps), _band(maps.shape[-1], maps))
    mean_total, mean_difference, square_total, square_difference = blurred.chunk(4, dim=1)
    bias, energy = mean_difference * mean_difference, mean_total * mean_total
    noise, signal = square_difference - bias, square_total - energy
    luminance = 1 - bias / (0.5 * (energy + bias) + C1)
    structure = 1 - noise / (0.5 * (signal + noise) + C2)
    return (luminance * structure).mean(dim=(1, 2, 3)).reshape(batch)


class _PlaneSsim(torch.autograd.Function):
    """Mean SSIM of planes on the CPU; its gradients are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        from ds4d.metrics.ssim_kernel import score_planes  # imports numba

        planes = [image.detach().contiguous().numpy() for image in (a, b)]
        scores = torch.empty(len(a))
        needed = ctx.needs_input_grad
        gradients = [torch.empty(len(a) if need else 0, *a.shape[1:]) for need in needed]
        arrays = [gradient.numpy() for gradient in gradients]
        parallel_for(score_planes, len(a), 1, *planes, ssim_window(scores).numpy(), scores.numpy(), *arrays)
        ctx.save_for_backward(*gradients)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        first, second = (
            gradient * grads[:, None, None] if need else None
            for gradient, need in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        )
        return first, second


class _BandBlur(torch.autograd.Function):
    """Blur of the valid region as products with band matrices, which use a GPU better than narrow convolutions do.

    Variances are small differences of large numbers, too small for TF32's ten bits: both passes multiply in full
    precision, whatever precision the process allows elsewhere.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(rows, columns)
        with matmul_precision("highest"):
            return rows @ (maps @ columns.mT)

    @staticmethod
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.saved_tensors
        with matmul_precision("highest"):
            return rows.mT @ (gradients @ columns), None, None


def ssim_window(like: Tensor) -> Float[Tensor, " window"]:
    """The weights of the window along one axis, with sum 1, of the dtype and device of a tensor."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return kernel / kernel.sum()


def _band(size: int, like: Tensor) -> Float[Tensor, "inside size"]:
    """The window's filter along one axis as a matrix: row i holds the window at columns i to i + 2 radius."""
    columns = torch.arange(size, dtype=like.dtype, device=like.device)
    offsets = columns - columns[: size - 2 * RADIUS, None] - RADIUS
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2)) * (offsets.abs() <= RADIUS)
    return weights / weights.sum(-1, keepdim=True)
