"""The losses of images on a GPU: l1, mse, ssim and mask with their weights and means in seven kernels.

What is computed is what the functions in `IMAGE_LOSSES` and `ds4d.metrics.ssim` compute.
"""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.metrics.ssim import RADIUS, ssim_window

NAMES = ("l1", "mse", "ssim", "mask")
_VIEWS = ("all", "input", "generated")
_PIXELS, _ROWS, _COLUMNS = 1024, 4, 64  # per program
_TAPS = 2 * RADIUS + 1


def takes(colors: Float[Tensor, "B 3 H W"]) -> bool:
    """Whether images are large enough for the window of SSIM, and there are some."""
    return len(colors) > 0 and min(colors.shape[-2:]) >= _TAPS


def weighted_losses(
    colors: Float[Tensor, "B 3 H W"],
    alphas: Float[Tensor, "B 1 H W"],
    target_colors: Float[Tensor, "B 3 H W"],
    target_alphas: Float[Tensor, "B 1 H W"],
    weights: Float[Tensor, "B 1 #H #W"],
    views: Int[Tensor, " B"],
    terms: Mapping[str, tuple[float, str]],
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum of the losses, differentiable in colors and alphas, and each before its weight (detached).

    Args:
        colors: rendered colors in [0, 1] over the backgrounds.
        alphas: rendered opacity in [0, 1].
        target_colors: training images in [0, 1] over the same backgrounds.
        target_alphas: masks of the training images in [0, 1].
        weights: weight per pixel, 1 for the input view.
        views: view index of each image; 0 is the input view.
        terms: weight in the sum and chosen views (`Term`) by the name of the loss, some of `NAMES`.
    """
    weights = weights.expand(-1, -1, *colors.shape[-2:])
    chosen = tuple((float(terms[name][0]), _VIEWS.index(terms[name][1])) if name in terms else None for name in NAMES)
    targets = (target_colors.detach(), target_alphas.detach(), weights.detach())
    total, values = _WeightedLosses.apply(colors, alphas, *targets, views, chosen)
    return total, {name: values[i] for i, name in enumerate(NAMES) if name in terms}


class _WeightedLosses(torch.autograd.Function):
    """The total and the values [4] of the losses in the order of `NAMES`."""

    @staticmethod
    def forward(
        ctx: Any,
        colors: Tensor,
        alphas: Tensor,
        target_colors: Tensor,
        target_alphas: Tensor,
        weights: Tensor,
        views: Tensor,
        terms: tuple[tuple[float, int] | None, ...],
    ) -> tuple[Tensor, Tensor]:
        from ds4d.losses import image_losses_cuda_kernel as kernels

        count, _, height, width = colors.shape
        with_ssim = terms[NAMES.index("ssim")] is not None
        inside = (height - _TAPS + 1, width - _TAPS + 1)
        pixel_blocks, window = _blocks(height * width, _PIXELS), _window(colors.device)
        sums = colors.new_empty(4, count, pixel_blocks)
        kernels.sum_pixels[(pixel_blocks, count)](
            colors, alphas, target_colors, target_alphas, weights, sums, count, height, width,
            *_strides(colors, alphas, target_colors, target_alphas, weights), BLOCK=_PIXELS,
        )  # fmt: skip
        blocks = _blocks(inside[0], _ROWS) * _blocks(inside[1], _COLUMNS)
        scores = colors.new_zeros(3 * count, blocks) if not with_ssim else colors.new_empty(3 * count, blocks)
        slopes = colors.new_empty(4 if with_ssim else 0, 3 * count, *inside)
        if with_ssim:
            tile = {"ROWS": _ROWS, "COLUMNS": _COLUMNS, "TAPS": _TAPS}
            blurred = colors.new_empty(4, 3 * count, height, inside[1])
            grid = (_blocks(height, _ROWS) * _blocks(inside[1], _COLUMNS), 3 * count)
            strides = _strides(colors, target_colors)
            kernels.blur_rows[grid](colors, target_colors, window, blurred, height, *inside, *strides, **tile)
            kernels.score[(blocks, 3 * count)](blurred, window, scores, slopes, height, *inside, **tile)
        values, factors = colors.new_empty(5), colors.new_empty(4, count)
        strengths = [0.0 if term is None else term[0] for term in terms]
        chosen = {f"{NAMES[i].upper()}_VIEWS": -1 if term is None else term[1] for i, term in enumerate(terms)}
        kernels.finish[(1,)](
            sums, scores, views, values, factors, *strengths, count,
            1.0 / (height * width), 1.0 / (3 * inside[0] * inside[1]), **chosen,
            PIXEL_BLOCKS=pixel_blocks, BLOCKS=blocks, IMAGES=1 << (count - 1).bit_length(), CHUNK=64,
        )  # fmt: skip
        ctx.save_for_backward(colors, alphas, target_colors, target_alphas, weights, window, slopes, factors)
        total, values = values[4], values[:4]
        ctx.mark_non_differentiable(values)
        return total, values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.losses import image_losses_cuda_kernel as kernels

        colors, alphas, target_colors, target_alphas, weights, window, slopes, factors = ctx.saved_tensors
        count, _, height, width = colors.shape
        with_ssim = len(slopes) > 0
        inside = (height - _TAPS + 1, width - _TAPS + 1)
        tile = {"ROWS": _ROWS, "COLUMNS": _COLUMNS, "TAPS": _TAPS}
        spread = colors.new_empty(len(slopes), 3 * count, height, inside[1])
        if with_ssim:
            grid = (_blocks(height, _ROWS) * _blocks(inside[1], _COLUMNS), 3 * count)
            kernels.spread_columns[grid](slopes, window, spread, height, *inside, **tile)
        by_colors, by_alphas = torch.empty_like(colors), torch.empty_like(alphas)
        kernels.gather_gradients[(_blocks(height, _ROWS) * _blocks(width, _COLUMNS), 3 * count)](
            colors, alphas, target_colors, target_alphas, weights, window, spread, factors, grad.contiguous(),
            by_colors, by_alphas, count, height, width, inside[1],
            *_strides(colors, alphas, target_colors, target_alphas, weights, by_colors, by_alphas),
            WITH_SSIM=with_ssim, **tile,
        )  # fmt: skip
        return by_colors, by_alphas, None, None, None, None, None


@functools.cache
def _window(device: torch.device) -> Float[Tensor, " window"]:
    """The window of SSIM along one axis, made once: it takes seven launches."""
    with torch.inference_mode(False), torch.no_grad():
        return ssim_window(torch.empty(0, device=device))


def _strides(*images: Tensor) -> list[int]:
    """Strides of all axes; of images and rows and columns alone where there is one channel."""
    return [stride for image in images for axis, stride in enumerate(image.stride()) if axis != 1 or image.shape[1] > 1]


def _blocks(count: int, size: int) -> int:
    return -(-count // size)
