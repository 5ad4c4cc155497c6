"""Trunk and heads of the deformation field on a GPU: one kernel forward, two for the gradients.

Hidden values stay in registers and are computed again for the gradients.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ds4d.core import matmul_precision

_ROWS = 64  # per program and turn
_PROGRAMS = 264  # two for each multiprocessor of a large GPU; each takes several turns
_WIDEST, _FEATURES = 64, 128  # more than these would need the shared memory of the largest GPUs
_PRECISION = "tf32x3"  # of products: three of TF32 each, close to float32; "tf32" is three times as fast, "ieee" exact
_GRADIENT_PRECISION = "tf32"  # of those for gradients, which also compute the hidden values again, and their signs


def takes(trunk: nn.Sequential, heads: Sequence[nn.Module], features: int) -> bool:
    """Whether trunk and heads have shapes that the kernels are made for, and there are some features."""
    first = trunk[0]
    assert isinstance(first, nn.Linear)
    numbers = sum(_linear_layers(head)[-1].out_features for head in heads)
    is_small = 0 < len(heads) <= 7 and numbers <= 15  # four bits of an integer tell the size of each
    return len(trunk) == 1 and is_small and first.out_features <= _WIDEST and 0 < features <= _FEATURES


def run_heads(
    planes: Float[Tensor, "T N F"],
    point_features: Float[Tensor, "T N C"] | None,
    first: nn.Linear,
    heads: Sequence[nn.Module],
) -> tuple[Float[Tensor, "T N _"], ...]:
    """What each head makes of one linear map of the features.

    Args:
        planes: HexPlane features.
        point_features: fused features of the points; None counts as zeros.
        first: the trunk, a map of both; where there are only planes, its other columns are not read.
        heads: ReLU, linear map, ReLU, linear map to a few numbers; all as wide as the trunk.
    """
    layers = [_linear_layers(head) for head in heads]
    if len(layers) == 1:  # nothing to be copied together
        ((inner, outer),) = layers
        middle, last = [inner.weight[None], inner.bias[None]], [outer.weight, outer.bias]
    else:
        middle = [torch.stack([getattr(inner, name) for inner, _ in layers]) for name in ("weight", "bias")]
        last = [torch.cat([getattr(outer, name) for _, outer in layers]) for name in ("weight", "bias")]
    sizes = tuple(outer.out_features for _, outer in layers)
    points = None if point_features is None else point_features.contiguous()
    return _RunHeads.apply(planes.contiguous(), points, first.weight, first.bias, *middle, *last, sizes)


class _RunHeads(torch.autograd.Function):
    """Changes of each head; weights and biases of the trunk [w, F + C], inner layers [H, w, w], outer layers [S, w]."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, points: Tensor | None, *weights_and_sizes: Any
    ) -> tuple[Tensor, ...]:  # the sizes of the heads come last
        from ds4d.deformation.heads_cuda_kernel import run

        *weights, sizes = weights_and_sizes
        rows = math.prod(planes.shape[:-1])
        out = planes.new_empty(rows * sum(sizes))
        numbers, constants = _shapes(planes, points, weights[0], sizes)
        if rows:
            run[(-(-rows // _ROWS),)](planes, points, *weights, out, rows, *numbers, **constants)
        ctx.save_for_backward(planes, points, *weights)
        ctx.sizes = sizes
        return tuple(
            part.view(*planes.shape[:-1], size)
            for part, size in zip(out.split([rows * size for size in sizes]), sizes, strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.deformation.heads_cuda_kernel import run_backward_heads, run_backward_trunk

        planes, points, *weights = ctx.saved_tensors
        numbers, constants = _shapes(planes, points, weights[0], ctx.sizes)
        constants["PRECISION"] = _GRADIENT_PRECISION
        rows = math.prod(planes.shape[:-1])
        by_planes = torch.empty_like(planes)
        by_points = None if points is None else torch.empty_like(points)
        by_hidden = planes.new_empty(rows, len(weights[0]))
        sums = planes.new_zeros(sum(weight.numel() for weight in weights[2:]))
        parts = sums.split([weight.numel() for weight in weights[2:]])
        by_heads = [part.view_as(weight) for part, weight in zip(parts, weights[2:], strict=True)]
        if rows:
            grad = torch.cat([grad.flatten() for grad in grads])
            blocks = -(-rows // _ROWS)
            run_backward_trunk[(blocks,)](
                planes, points, *weights, grad, by_planes, by_points, by_hidden, rows, *numbers, **constants
            )
            run_backward_heads[(min(_PROGRAMS, blocks), len(ctx.sizes))](
                planes, points, *weights, grad, *by_heads, rows, *numbers, **constants
            )
        read = [planes] if points is None else [planes, points]
        by_first = torch.zeros_like(weights[0])
        places = by_first.split([*(x.shape[-1] for x in read), by_first.shape[1] - sum(x.shape[-1] for x in read)], 1)
        with matmul_precision("high" if _GRADIENT_PRECISION == "tf32" else "highest"):
            for place, part in zip(places, read, strict=False):
                place.addmm_(by_hidden.T, part.reshape(rows, part.shape[-1]))
        by_weights = [by_first, by_hidden.sum(0), *by_heads]
        return by_planes, by_points, *by_weights, None


def _linear_layers(head: nn.Module) -> list[nn.Linear]:
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear)]


def _shapes(
    planes: Tensor, points: Tensor | None, first: Tensor, sizes: tuple[int, ...]
) -> tuple[list[int], dict[str, Any]]:
    """Numbers and constants that all kernels take after the tensors and the number of rows."""
    width, columns = first.shape
    features, channels = planes.shape[-1], 0 if points is None else points.shape[-1]
    constants = {
        "SIZES": sum(size << 4 * i for i, size in enumerate(sizes)),
        "STARTS": sum(sum(sizes[:i]) << 4 * i for i in range(len(sizes))),
        "HEADS": len(sizes),
        "WITH_POINTS": points is not None,
        "FEATURES": _padded(features),
        "CHANNELS": _padded(channels),
        "WIDTH": _padded(width),
        "ROWS": _ROWS,
        "PRECISION": _PRECISION,
        "num_stages": 1,  # loads ahead of time would take shared memory from other programs
    }
    return [features, channels, columns, width], constants


def _padded(count: int) -> int:
    """The power of two from 16 on that matrix products take."""
    return max(16, 1 << (max(1, count) - 1).bit_length())
