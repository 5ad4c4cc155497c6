"""The HexPlane's compiled reads as one differentiable step, for float32 on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

# Items of a kernel that are worth handing to another thread.
_POINTS, _SCALES = 1000, 1


def read_products(
    unit: Float[Tensor, "N 3"], spatial: Sequence[Float[Tensor, "3 C _ _"]], lines: Sequence[Float[Tensor, "T 3 C _"]]
) -> Float[Tensor, "T N F"]:
    """Products of every point's six reads, the channels of one scale after those of another.

    Args:
        unit: points, the box from -1 to 1; those outside read its border.
        spatial: xy, xz and yz planes of every scale, the second axis before the first.
        lines: what the xt, yt and zt planes of every scale hold at each time.
    """
    sizes = np.array([planes.shape[-1] for planes in spatial])
    rows = np.stack((3 * sizes**2, 3 * len(lines[0]) * sizes), axis=1)
    scales = np.column_stack((sizes, rows.cumsum(0) - rows))
    planes_of, lines_of = [_rows(x, 1) for x in spatial], [_rows(x, 2) for x in lines]
    return _ReadProducts.apply(unit, torch.cat(planes_of), torch.cat(lines_of), len(lines[0]), scales)


def _rows(values: Tensor, axis: int) -> Float[Tensor, "cells C"]:
    """The cells of one scale, one after the other, their channels, which lie along the axis, side by side."""
    return values.movedim(axis, -1).reshape(-1, values.shape[axis])


class _ReadProducts(torch.autograd.Function):
    """Features [T, N, S C] of points, planes and lines as `hexplane_kernel` lays them out."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, planes: Tensor, lines: Tensor, times: int, scales: np.ndarray) -> Tensor:
        from ds4d.deformation.hexplane_kernel import read_at_points

        unit = unit.contiguous()
        ctx.save_for_backward(unit, planes, lines)
        ctx.scales = scales
        features = torch.empty(times, len(unit), len(scales) * planes.shape[1])
        points, *rows = (x.detach().numpy() for x in (unit, planes, lines))
        parallel_for(read_at_points, len(unit), _POINTS, points, scales, *rows, features.numpy())
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.deformation.hexplane_kernel import accumulate_gradients

        unit, planes, lines = ctx.saved_tensors
        by_planes, by_lines = torch.zeros_like(planes), torch.zeros_like(lines)
        by_unit = torch.empty(len(ctx.scales), len(unit), 3)
        points, *rows = (x.detach().numpy() for x in (unit, planes, lines))
        others = [x.numpy() for x in (grads.contiguous(), by_planes, by_lines, by_unit)]
        parallel_for(accumulate_gradients, len(ctx.scales), _SCALES, points, ctx.scales, *rows, *others)
        return by_unit.sum(0), by_planes, by_lines, None, None
