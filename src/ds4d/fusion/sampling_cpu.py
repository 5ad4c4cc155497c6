"""Weighted sums of samples on the CPU by a compiled kernel, differentiable in the maps and the weights."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

# Number of items worth handing to another thread.
_POINT_GRAIN, _MAP_GRAIN = 1000, 1


def supports(maps: Tensor, positions: Tensor, weights: Tensor) -> bool:
    """Whether `sum_of_samples` takes these: single precision on the CPU, without gradients of the positions."""
    tensors = (maps, positions, weights)
    return all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors) and not positions.requires_grad


def sum_of_samples(
    maps: Float[Tensor, "*T V C h w"], positions: Float[Tensor, "*T V N 2"], weights: Float[Tensor, "*T V N"]
) -> Float[Tensor, "*T N C"]:
    """Sum over the views of weight times bilinear sample (`PointSamples.weighted_sum`).

    Only maps, positions and weights are kept for the gradient. A position of NaN samples the first row or column.

    Args:
        maps: maps of every view.
        positions: x and y in [-1, 1] over the map; beyond the centers of the border cells these are sampled.
        weights: weights of the views at every point.
    """
    lead = maps.shape[:-4]
    maps, positions, weights = maps[None].flatten(0, -5), positions[None].flatten(0, -4), weights[None].flatten(0, -3)
    return _SumOfSamples.apply(maps, positions, weights).reshape(*lead, *positions.shape[-2:-1], maps.shape[-3])


class _SumOfSamples(torch.autograd.Function):
    """Maps [B, V, C, h, w] at positions [B, V, N, 2] by weights [B, V, N]: [B, N, C]."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
        from ds4d.fusion.sampling_kernel import sum_samples  # imports numba

        inputs = [x.detach().contiguous() for x in (maps.movedim(2, -1), positions, weights)]
        batch, _, count = weights.shape
        out = torch.empty(batch, count, maps.shape[2])
        parallel_for(sum_samples, batch * count, _POINT_GRAIN, *_arrays(*inputs), out.numpy())
        ctx.save_for_backward(*inputs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        from ds4d.fusion.sampling_kernel import sum_samples_backward

        maps, positions, weights = ctx.saved_tensors
        needs_maps, _, needs_weights = ctx.needs_input_grad
        d_maps = torch.zeros(len(maps) if needs_maps else 0, *maps.shape[1:])
        d_weights = torch.empty(len(weights) if needs_weights else 0, *weights.shape[1:])
        arrays = _arrays(maps, positions, weights, grads.contiguous(), d_maps, d_weights)
        parallel_for(sum_samples_backward, maps.shape[:2].numel(), _MAP_GRAIN, *arrays)
        return d_maps.movedim(-1, 2) if needs_maps else None, None, d_weights if needs_weights else None


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.detach().numpy() for x in tensors]
