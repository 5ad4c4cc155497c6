"""The view correction's compiled warps and gains as one differentiable step, for float32 on the CPU."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

_IMAGES = 1  # worth handing to another thread


def supports(*tensors: Tensor) -> bool:
    """Whether `corrected` takes these images: single precision on the CPU, at least 2 pixels wide and high."""
    return all(x.dtype == torch.float32 and x.device.type == "cpu" and min(x.shape[-2:]) > 1 for x in tensors)


def corrected(
    images: Float[Tensor, "B 4 H W"],
    is_corrected: Float[Tensor, " B"],
    backgrounds: Float[Tensor, "B 3"],
    gains: Float[Tensor, "B 3"],
    warps: Float[Tensor, "B 2 g g"],
    rows: Float[Tensor, "H g"],
    columns: Float[Tensor, "W g"],
) -> Float[Tensor, "B 4 H W"]:
    """Images with the gains on what is over the backgrounds, and warped.

    Differentiable in the images, the gains and the warps.

    Args:
        images: colors over the backgrounds, and opacities.
        is_corrected: 1 where an image is corrected, 0 where it is copied.
        backgrounds: plain background colors, which gains leave unchanged.
        gains: factors on the colors, above 0.
        warps: (x, y) displacements of the control points, half image sizes; beyond the image its border is read.
        rows: weights of the control points at the rows of pixels.
        columns: weights of the control points at the columns of pixels.
    """
    return _Corrected.apply(images, gains, warps, is_corrected, backgrounds, rows, columns.T)


class _Corrected(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        gains: Tensor,
        warps: Tensor,
        is_corrected: Tensor,
        backgrounds: Tensor,
        rows: Tensor,
        columns: Tensor,
    ) -> Tensor:
        from ds4d.losses.view_correction_kernel import correct  # imports numba

        given = [x.detach().contiguous() for x in (images, is_corrected, backgrounds, gains, warps, rows, columns)]
        out = torch.empty_like(given[0])
        parallel_for(correct, len(out), _IMAGES, *(x.numpy() for x in (*given, out)))
        ctx.save_for_backward(*given, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.losses.view_correction_kernel import correct_backward

        images, _, _, gains, warps, *_ = ctx.saved_tensors
        results = [torch.zeros_like(x) for x in (images, gains, warps)]
        arrays = [x.numpy() for x in (*ctx.saved_tensors, grads.contiguous(), *results)]
        parallel_for(correct_backward, len(images), _IMAGES, *arrays)
        return *results, None, None, None, None
