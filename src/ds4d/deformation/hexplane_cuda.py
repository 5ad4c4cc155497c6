"""The HexPlane's fused reads on a GPU: lines of the time planes, then all six reads and their product in one pass.

What is computed, at borders, beyond them and for NaN, is what `hexplane_kernel` computes on the CPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_POINTS, _CELLS = 32, 512  # per program


def lines_at(planes: Float[Tensor, "3 C rows R"], times: Float[Tensor, " T"]) -> Float[Tensor, "T 3 C R"]:
    """The time planes' content at given times, linear between rows; differentiable in the planes alone."""
    return _LinesAt.apply(planes, times.detach().contiguous())


def read_products(
    points: Float[Tensor, "N 3"],
    aabb: Float[Tensor, "2 3"],
    spatial: Sequence[Float[Tensor, "3 C _ _"]],
    lines: Sequence[Float[Tensor, "T 3 C _"]],
) -> Float[Tensor, "T N F"]:
    """Products of every point's six reads, the channels of one scale after those of another.

    Args:
        points: points; those outside the box read its border.
        aabb: lower and upper corner of the box.
        spatial: xy, xz and yz planes of every scale, the second axis before the first, in any layout of memory.
        lines: what the xt, yt and zt planes of every scale hold at each time.
    """
    # Side by side, the channels of a cell are few sectors of memory to read, and to add to in the gradient.
    planes = [x.contiguous(memory_format=torch.channels_last) for x in spatial]
    return _ReadProducts.apply(points.contiguous(), aabb.contiguous(), len(planes), *planes, *lines)


class _LinesAt(torch.autograd.Function):
    """Lines [T, 3, C, R], the channels of a cell side by side in memory."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, times: Tensor) -> Tensor:
        from ds4d.deformation.hexplane_cuda_kernel import read_lines

        families, channels, rows, cells = planes.shape
        lines = planes.new_empty(len(times), families, cells, channels)
        count = lines[:1].numel()
        if lines.numel():
            grid = (_blocks(count, _CELLS), len(times))
            read_lines[grid](planes, times, lines, rows, cells, channels, count, *planes.stride(), BLOCK=_CELLS)
        ctx.save_for_backward(planes, times)
        return lines.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, None]:
        from ds4d.deformation.hexplane_cuda_kernel import accumulate_rows

        planes, times = ctx.saved_tensors
        by_planes = torch.empty_like(planes)
        _, channels, rows, cells = planes.shape
        strides = (*by_planes.stride(), *grads.stride())
        grid = (_blocks(planes.numel(), _CELLS),)
        sizes = (rows, cells, channels, planes.numel())
        accumulate_rows[grid](grads, times, by_planes, *sizes, *strides, TIMES=len(times), BLOCK=_CELLS)
        return by_planes, None


class _ReadProducts(torch.autograd.Function):
    """Features [T, N, S C] of points, and planes and lines of S scales."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, aabb: Tensor, scales: int, *content: Tensor) -> Tensor:
        from ds4d.deformation.hexplane_cuda_kernel import read_at_points

        spatial, lines = content[:scales], content[scales:]
        (count, _), (times, _, channels, _) = points.shape, lines[0].shape
        features = points.new_empty(times, count, scales * channels)
        if features.numel():
            for s, (planes, along) in enumerate(zip(spatial, lines, strict=True)):
                out = features[..., s * channels :]
                read_at_points[(_blocks(count, _POINTS),)](
                    points, aabb, planes, along, out, count, channels, planes.shape[-1],
                    *planes.stride(), *along.stride(), *features.stride()[:2],
                    TIMES=times, BLOCK=_POINTS, CHANNELS=_power_of_two(channels),
                )  # fmt: skip
        ctx.save_for_backward(points, aabb, *content)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.deformation.hexplane_cuda_kernel import accumulate_gradients

        points, aabb, *content = ctx.saved_tensors
        scales = len(content) // 2
        zeros = points.new_zeros(sum(x.numel() for x in (*content, *[points] * scales)))
        *parts, by_points = zeros.split([*(x.numel() for x in content), scales * points.numel()])
        by_content = [
            part.as_strided(x.shape, torch.empty_like(x).stride()) for part, x in zip(parts, content, strict=True)
        ]
        by_points = by_points.view(scales, *points.shape)
        (count, _), (times, _, channels, _) = points.shape, content[-1].shape
        grads = grads.contiguous()
        if grads.numel():
            for s in range(scales):
                planes, along = content[s], content[scales + s]
                accumulate_gradients[(_blocks(count, _POINTS),)](
                    points, aabb, planes, along, grads[..., s * channels :],
                    by_content[s], by_content[scales + s], by_points[s],
                    count, channels, planes.shape[-1],
                    *planes.stride(), *along.stride(), *grads.stride()[:2],
                    *by_content[s].stride(), *by_content[scales + s].stride(),
                    TIMES=times, BLOCK=_POINTS, CHANNELS=_power_of_two(channels),
                )  # fmt: skip
        return by_points.sum(0), None, None, *by_content


def _blocks(count: int, size: int) -> int:
    return -(-count // size)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
