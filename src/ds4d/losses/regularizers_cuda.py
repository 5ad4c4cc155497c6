"""The regularizers of planes and centers on a GPU, each in a few kernels; see `regularizers` for what they are."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

_CELLS, _POINTS = 1024, 64  # per program


def plane_mean(
    planes: Sequence[Float[Tensor, "3 C _ _"]], *, across: bool = False, down: bool = False, from_one: bool = False
) -> Float[Tensor, ""]:
    """Mean over the planes, and over what is chosen, of a mean over cells.

    Args:
        planes: planes of every scale, in any layout of memory.
        across: choose squared second differences along the last axis.
        down: choose squared second differences along the second last axis.
        from_one: choose absolute differences from 1.
    """
    return _PlaneMean.apply((across, down, from_one), *planes)


def rigidity(
    canonical: Float[Tensor, "N 3"], moved: Float[Tensor, "T N 3"], neighbors: Int[Tensor, "N k"]
) -> Float[Tensor, ""]:
    """Mean absolute change of the distance between neighbors (`regularizers.rigidity`)."""
    return _Rigidity.apply(canonical.contiguous(), moved.contiguous(), neighbors.contiguous())


class _PlaneMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, chosen: tuple[bool, bool, bool], *planes: Tensor) -> Tensor:
        from ds4d.losses.regularizers_cuda_kernel import sum_planes

        blocks = [-(-plane.numel() // _CELLS) for plane in planes]
        sums = planes[0].new_empty(sum(blocks))
        for plane, part in zip(planes, sums.split(blocks), strict=True):
            factors = _factors(plane, chosen, len(planes))
            sum_planes[(len(part),)](plane, part, *plane.shape, *plane.stride(), *factors, *chosen, BLOCK=_CELLS)
        ctx.chosen = chosen
        ctx.save_for_backward(*planes)
        return sums.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.losses.regularizers_cuda_kernel import sum_planes_backward

        gradients = []
        for plane in ctx.saved_tensors:
            by_plane = torch.empty_like(plane)
            factors = _factors(plane, ctx.chosen, len(ctx.saved_tensors))
            sum_planes_backward[(-(-plane.numel() // _CELLS),)](
                plane, grad.contiguous(), by_plane, *plane.shape, *plane.stride(), *by_plane.stride(), *factors,
                *ctx.chosen, BLOCK=_CELLS,
            )  # fmt: skip
            gradients.append(by_plane)
        return None, *gradients


def _factors(plane: Tensor, chosen: tuple[bool, bool, bool], count: int) -> list[float]:
    """What a difference counts, for each of what can be chosen; 0 where there are too few cells."""
    families, channels, rows, columns = plane.shape
    cells = (rows * (columns - 2), (rows - 2) * columns, rows * columns)
    return [1.0 / (families * channels * n * count * sum(chosen)) if n > 0 else 0.0 for n in cells]


class _Rigidity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canonical: Tensor, moved: Tensor, neighbors: Tensor) -> Tensor:
        from ds4d.losses.regularizers_cuda_kernel import sum_changes

        (count, k), times = neighbors.shape, len(moved)
        blocks = -(-count // _POINTS)
        sums = moved.new_zeros(max(1, blocks))
        if count and k and times:
            sum_changes[(blocks,)](
                canonical, moved, neighbors, sums, count, 1.0 / (times * count * k),
                TIMES=times, BLOCK=_POINTS, NEIGHBORS=k, PADDED=1 << (k - 1).bit_length(),
            )  # fmt: skip
        ctx.save_for_backward(canonical, moved, neighbors)
        return sums.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        from ds4d.losses.regularizers_cuda_kernel import sum_changes_backward

        canonical, moved, neighbors = ctx.saved_tensors
        (count, k), times = neighbors.shape, len(moved)
        by_all = moved.new_zeros(1 + times, count, 3)
        if count and k and times:
            sum_changes_backward[(-(-count // _POINTS),)](
                canonical, moved, neighbors, grad.contiguous(), by_all[0], by_all[1:], count, 1.0 / (times * count * k),
                TIMES=times, BLOCK=_POINTS, NEIGHBORS=k, PADDED=1 << (k - 1).bit_length(),
            )  # fmt: skip
        return by_all[0], by_all[1:], None
