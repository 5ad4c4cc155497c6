"""What the fusion does at each point, on the CPU by compiled kernels; sums are differentiable."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

# Number of items worth handing to another thread.
_POINT_GRAIN, _MAP_GRAIN = 1000, 1


def supports(maps: Tensor, positions: Tensor, *others: Tensor) -> bool:
    """Whether the kernels take these: single precision on the CPU, without gradients of the positions."""
    tensors = (maps, positions, *others)
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


def see_points(
    points: Float[Tensor, "B N 3"],
    viewmats: Float[Tensor, "B V 4 4"],
    Ks: Float[Tensor, "B V 3 3"],
    size: tuple[int, int],
    near: float,
    *,
    depths: Float[Tensor, "B V _ _"] | None,
    tolerance: float,
    warps: Float[Tensor, "B V 2 _ _"] | None,
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N"]]:
    """Normalized image coordinates of points in warped views, and their visibility.

    The same as `project_to_images`, `visibility_at` and `warp_positions`, without gradients.

    Args:
        points: points of each time, in the cameras' world.
        viewmats: of the cameras of each time.
        Ks: of the cameras of each time.
        size: width and height of the images, pixels.
        near: depth of the points nearest to a camera that it sees, world units.
        depths: rendered depths, 0 where nothing is rendered; without, a view sees all points inside its image.
        tolerance: of the depth test, world units.
        warps: warp of each view's image, if they are warped.
    """
    from ds4d.fusion.sampling_kernel import see_points as kernel  # imports numba

    batch, count = points.shape[:2]
    none = viewmats.new_zeros(*viewmats.shape[:2], 2, 0, 0)
    positions, visible = torch.empty(batch, viewmats.shape[1], count, 2), torch.empty(batch, viewmats.shape[1], count)
    numbers = [np.float32(x) for x in (*size, near)]
    parallel_for(
        kernel,
        batch * count,
        _POINT_GRAIN,
        *_arrays(*(x.contiguous() for x in (points, viewmats, Ks))),
        *numbers,
        *_arrays((none[:, :, 0] if depths is None else depths).float().contiguous()),
        np.float32(tolerance),
        *_arrays((none if warps is None else warps).contiguous(), positions, visible),
    )
    return positions, visible


def visible_mean(
    maps: Float[Tensor, "*T V C h w"],
    positions: Float[Tensor, "*T V N 2"],
    visible: Float[Tensor, "*T V N"],
    score: Float[Tensor, " C"],
    bonus: Float[Tensor, ""],
) -> Float[Tensor, "*T N C"]:
    """Mean of the views' samples by weights proportional to visibility times exp(score . sample + bonus of view 0).

    Differentiable in the maps, the score and the bonus; views of negligible weight are not sampled.

    Args:
        maps: maps of every view.
        positions: as for `sum_of_samples`.
        visible: visibility of the points in each view, 0 or more.
        score: weights of the channels.
        bonus: what is added to the first view's scores.
    """
    lead = maps.shape[:-4]
    maps, positions, visible = maps[None].flatten(0, -5), positions[None].flatten(0, -4), visible[None].flatten(0, -3)
    mean = _VisibleMean.apply(maps, score, bonus, positions, visible)
    return mean.reshape(*lead, *positions.shape[-2:-1], maps.shape[-3])


class _VisibleMean(torch.autograd.Function):
    """Maps [B, V, C, h, w], a score [C] and a bonus, at positions [B, V, N, 2] by visibility [B, V, N]: [B, N, C]."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, score: Tensor, bonus: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
        from ds4d.fusion.sampling_kernel import fuse_visible, score_maps  # imports numba

        maps, score, positions, visible = (
            x.detach().contiguous() for x in (maps.movedim(2, -1), score, positions, visible)
        )
        batch, views, count = visible.shape
        scores, weights = torch.empty(maps.shape[:-1]), torch.empty_like(visible)
        out, shifts = torch.empty(batch, count, maps.shape[-1]), torch.empty(batch, count, dtype=torch.int32)
        parallel_for(score_maps, batch * views, _MAP_GRAIN, *_arrays(maps, score, scores))
        arrays = _arrays(maps, scores, positions, visible), _arrays(weights, shifts, out)
        parallel_for(fuse_visible, batch * count, _POINT_GRAIN, *arrays[0], np.float32(bonus.item()), *arrays[1])
        ctx.save_for_backward(maps, score, positions, weights, shifts)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.fusion.sampling_kernel import fuse_visible_by_maps, fuse_visible_by_scores

        maps, score, positions, weights, shifts = ctx.saved_tensors
        batch, views, count = weights.shape
        grads, d_scores = grads.contiguous(), torch.empty_like(weights)
        arrays = _arrays(maps, positions, weights, shifts, grads, d_scores)
        parallel_for(fuse_visible_by_scores, batch * count, _POINT_GRAIN, *arrays)
        d_maps, parts = torch.zeros_like(maps), torch.empty(batch, views, len(score))
        arrays = _arrays(maps, score, positions, weights, grads, d_scores, d_maps, parts)
        parallel_for(fuse_visible_by_maps, batch * views, _MAP_GRAIN, *arrays)
        d_bonus = torch.from_numpy(d_scores[:, 0].numpy().sum(keepdims=True)).reshape(())
        return d_maps.movedim(-1, 2), parts.sum((0, 1)), d_bonus, None, None


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
