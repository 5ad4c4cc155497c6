"""The fusion rule `visible` on a GPU: projection, depth test, warp, samples, softmax and weighted sum in one kernel.

What is computed is what `Tssf` and `ds4d.fusion.rules.Visible` compute, and in the gradient the same again, so that
nothing is kept per view.
"""

from typing import Any

import torch
from jaxtyping import Float, Float16, Float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import matmul_precision
from ds4d.types import Cameras

_POINTS = 32  # per program


def fuse_visible(
    maps: Float[Tensor, "T V C h w"],
    points: Float[Tensor, "T N 3"],
    cameras: Cameras,
    score: Float[Tensor, " C"],
    input_bonus: Float[Tensor, ""],
    *,
    valid: Float[Tensor, "T V"] | None,
    depths: Float[Tensor, "T V 1 _ _"],
    warps: Float[Tensor, "T V 2 _ _"] | None,
    tolerance: float,
) -> Float[Tensor, "T N C"]:
    """The fused features of points; differentiable in maps, score and bonus.

    A point whose visibilities add up to less than a millionth teaches score and bonus nothing.

    Args:
        maps: maps of V views at T times, in any layout of memory.
        points: points of each time, in the cameras' world.
        cameras: cameras of the views [V], or of each time [T, V].
        score: u of the rule: the score of a sample is u . p(i,j).
        input_bonus: added to the score of view 0.
        valid: 1 for views that have an image, 0 for others; None if all have one.
        depths: rendered depths along the camera's z axis; 0 where nothing is rendered.
        warps: warps of the views' images (`sample_at_points`).
        tolerance: of the depth test, world units.
    """
    count = maps.shape[0]
    if cameras.viewmats.ndim == 3:
        cameras = cameras.expand_times(count)
    if valid is None:
        valid = maps.new_ones(maps.shape[:2])
    size, tensors = (cameras.width, cameras.height), (cameras.viewmats, cameras.Ks, valid, depths)
    seen = [x.detach() if x.stride(-1) == 1 else x.detach().contiguous() for x in (points, *tensors)]
    shift = None if warps is None else warps.detach().float().contiguous()
    return _FuseVisible.apply(maps, score.contiguous(), input_bonus, *seen, shift, size, tolerance)


def reduce_maps(maps: Float16[Tensor, "B D cells"], weight: Float32[Tensor, "C D"]) -> Float32[Tensor, "B cells C"]:
    """Maps times a linear map, as tensor cores do it; differentiable in the linear map alone.

    TF32 holds as many digits as half precision, so that nothing of the maps is rounded.
    """
    return _ReduceMaps.apply(maps, weight)


class _ReduceMaps(torch.autograd.Function):
    """See `reduce_maps`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor) -> Tensor:
        values = maps.to(weight.dtype)
        ctx.save_for_backward(values)
        with matmul_precision("high"):
            return torch.bmm(values.mT, weight.T.expand(len(maps), -1, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[None, Tensor]:
        (values,) = ctx.saved_tensors
        with matmul_precision("high"):
            return None, torch.bmm(values, gradients).sum(0).T


class _FuseVisible(torch.autograd.Function):
    """Fused features [T, N, C] of maps [T, V, C, h, w]; `seen`: points, viewmats, Ks, valid, depths, warps."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, score: Tensor, bonus: Tensor, *seen: Any
    ) -> Tensor:  # seen ends with the size of the images and the tolerance
        from ds4d.fusion.visible_cuda_kernel import fuse

        *tensors, size, tolerance = seen
        points = tensors[0]
        times, count, channels = len(maps), points.shape[1], maps.shape[2]
        fused = maps.new_empty(times, count, channels)
        peaks, sums = maps.new_empty(times, count), maps.new_empty(times, count)
        ctx.settings = _settings(maps, *tensors, size, tolerance)
        if fused.numel():
            numbers, constants = ctx.settings
            grid = (-(-count // _POINTS), times)
            fuse[grid](maps, score, bonus, *tensors, fused, peaks, sums, count, channels, *numbers, **constants)
        ctx.save_for_backward(maps, score, bonus, *tensors, fused, peaks, sums)
        return fused

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.fusion.visible_cuda_kernel import fuse_backward

        maps, score, bonus, *tensors, fused, peaks, sums = ctx.saved_tensors
        zeros = maps.new_zeros(maps.numel() + score.numel() + 1)
        by_maps, by_score, by_bonus = zeros.split([maps.numel(), score.numel(), 1])
        by_maps, by_bonus = by_maps.as_strided(maps.shape, torch.empty_like(maps).stride()), by_bonus.view(())
        times, count, channels = fused.shape
        if fused.numel():
            numbers, constants = ctx.settings
            grid = (-(-count // _POINTS), times)
            fuse_backward[grid](
                maps, score, bonus, *tensors, fused, peaks, sums, grads.contiguous(), by_maps, by_score, by_bonus,
                count, channels, *numbers, *by_maps.stride(), **constants,
            )  # fmt: skip
        return by_maps, by_score, by_bonus, *[None] * (len(tensors) + 2)


def _settings(
    maps: Tensor,
    points: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    valid: Tensor,
    depths: Tensor,
    warps: Tensor | None,
    size: tuple[int, int],
    tolerance: float,
) -> tuple[list[int | float], dict[str, Any]]:
    """Numbers and constants that both kernels take after the tensors."""
    rows, columns = depths.shape[-2:]
    numbers = [
        *size, maps.shape[3], maps.shape[4], rows, columns, 0 if warps is None else warps.shape[-1], float(tolerance),
        *points.stride()[:2], *viewmats.stride()[:3], *Ks.stride()[:3], valid.stride(0), *depths.stride()[:2],
        depths.stride(-2), *maps.stride(),
    ]  # fmt: skip
    constants = {
        "WITH_WARPS": warps is not None,
        "VIEWS": maps.shape[1],
        "BLOCK": _POINTS,
        "CHANNELS": 1 << (maps.shape[2] - 1).bit_length(),
    }
    return numbers, constants
