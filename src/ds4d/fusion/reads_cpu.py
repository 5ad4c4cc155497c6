"""Reads of maps on the CPU by a compiled kernel, differentiable in the maps and their weights."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

# Items of a kernel that are worth handing to another thread.
_PLACES, _MAPS = 1000, 1


def can_weigh(maps: Tensor, place: Tensor, weights: Tensor) -> bool:
    """Whether `weighted_reads` takes these: single precision on the CPU, and no gradient of the places is asked."""
    fit = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in (maps, place, weights))
    return fit and not place.requires_grad


def weighted_reads(
    maps: Float[Tensor, "*T V C h w"], place: Float[Tensor, "*T V N 2"], weights: Float[Tensor, "*T V N"]
) -> Float[Tensor, "*T N C"]:
    """Sum over the views of weight times the vector that is read at the place, in half images from the middle.

    As `PointReads.weighted_sum` computes it of tensors, in far fewer passes. Beyond the border cells' centers these are
    read, at NaN the first. Maps, places and weights are all that is kept for the gradient.
    """
    lead = maps.shape[:-4]
    maps, place, weights = maps[None].flatten(0, -5), place[None].flatten(0, -4), weights[None].flatten(0, -3)
    return _WeighReads.apply(maps, place, weights).reshape(*lead, *place.shape[-2:-1], maps.shape[-3])


class _WeighReads(torch.autograd.Function):
    """Maps [B, V, C, h, w] at places [B, V, N, 2] by weights [B, V, N]: [B, N, C]."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, place: Tensor, weights: Tensor) -> Tensor:
        from ds4d.fusion.reads_kernel import weigh_reads  # imports numba

        inputs = [x.detach().contiguous() for x in (maps.movedim(2, -1), place, weights)]
        batch, _, count = weights.shape
        out = torch.empty(batch, count, maps.shape[2])
        parallel_for(weigh_reads, batch * count, _PLACES, *_arrays(*inputs), out.numpy())
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        from ds4d.fusion.reads_kernel import weigh_reads_backward

        maps, place, weights = ctx.saved_tensors
        of_maps, _, of_weights = ctx.needs_input_grad
        d_maps = torch.zeros(len(maps) if of_maps else 0, *maps.shape[1:])
        d_weights = torch.empty(len(weights) if of_weights else 0, *weights.shape[1:])
        arrays = _arrays(maps, place, weights, grads.contiguous(), d_maps, d_weights)
        parallel_for(weigh_reads_backward, maps.shape[:2].numel(), _MAPS, *arrays)
        return d_maps.movedim(-1, 2) if of_maps else None, None, d_weights if of_weights else None


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.detach().numpy() for x in tensors]
