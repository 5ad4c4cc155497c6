"""The HexPlane's compiled reads as one differentiable step, for float32 on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ds4d.threads import share

# Items of a kernel that are worth handing to another thread.
_POINTS, _BLOCKS = 1000, 1


def read_products(
    unit: Float[Tensor, "N 3"], spatial: Sequence[Float[Tensor, "3 C _ _"]], lines: Sequence[Float[Tensor, "T 3 C _"]]
) -> Float[Tensor, "T N F"]:
    """Products of every point's six reads, the channels of one scale after those of another.

    Args:
        unit: points, the box from -1 to 1; those outside read its border.
        spatial: xy, xz and yz planes of every scale, the second axis before the first.
        lines: what the xt, yt and zt planes of every scale hold at each time.
    """
    from ds4d.deformation.hexplane_kernel import LANES  # imports numba

    channels, times = spatial[0].shape[1], len(lines[0])
    sizes = np.repeat([planes.shape[-1] for planes in spatial], -(-channels // LANES))
    rows = np.stack((3 * sizes**2, 3 * times * sizes), axis=1)
    blocks = np.column_stack((sizes, rows.cumsum(0) - rows))
    planes_of, lines_of = [_rows(x, 1, LANES) for x in spatial], [_rows(x, 2, LANES) for x in lines]
    features = _ReadProducts.apply(unit, torch.cat(planes_of), torch.cat(lines_of), times, blocks)
    return features.unflatten(-1, (len(spatial), -1))[..., :channels].flatten(-2)


def _rows(values: Tensor, axis: int, lanes: int) -> Float[Tensor, "cells lanes"]:
    """The blocks of one scale, one after the other: channels lie along the axis, the last block's are filled with 0."""
    filled = F.pad(values.movedim(axis, -1), (0, -values.shape[axis] % lanes))
    return filled.unflatten(-1, (-1, lanes)).movedim(-2, 0).reshape(-1, lanes)


class _ReadProducts(torch.autograd.Function):
    """Features [T, N, B L] of points, planes and lines as `hexplane_kernel` lays them out."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, planes: Tensor, lines: Tensor, times: int, blocks: np.ndarray) -> Tensor:
        from ds4d.deformation.hexplane_kernel import read_points

        unit = unit.contiguous()
        ctx.save_for_backward(unit, planes, lines)
        ctx.blocks = blocks
        features = torch.empty(times, len(unit), len(blocks) * planes.shape[1])
        points, *rows = (x.detach().numpy() for x in (unit, planes, lines))
        share(read_points, len(unit), _POINTS, points, blocks, *rows, features.numpy())
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pulls: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.deformation.hexplane_kernel import pull_blocks

        unit, planes, lines = ctx.saved_tensors
        asked = ctx.needs_input_grad[0]
        by_planes, by_lines = torch.zeros_like(planes), torch.zeros_like(lines)
        by_unit = torch.empty(len(ctx.blocks), len(unit) if asked else 0, 3)
        points, *rows = (x.detach().numpy() for x in (unit, planes, lines))
        others = [x.numpy() for x in (pulls.contiguous(), by_planes, by_lines, by_unit)]
        share(pull_blocks, len(ctx.blocks), _BLOCKS, points, ctx.blocks, *rows, *others)
        return by_unit.sum(0) if asked else None, by_planes, by_lines, None, None
