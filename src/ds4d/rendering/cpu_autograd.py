"""The two differentiable steps of the CPU renderer: projection and compositing.

Between them are `means2d`, whose gradient densification uses. Letters in shapes: T time, V view, I image (= T * V,
time major), N Gaussians, H W pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds4d.core import parallel_for

# Items of a kernel that are worth another thread.
_GAUSSIANS, _TILES, _IMAGES = 1000, 8, 1

Gradients = tuple[Tensor | None, ...]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class Project(torch.autograd.Function):
    """Gaussians [T, N] in images [I]: means2d [I, N, 2], conics [I, N, 3], depths [I, N], radii [I, N, 2].

    Takes means, quats, scales, opacities [T, N, ...], viewmats [I, 4, 4], Ks [I, 3, 3], (width, height) and settings.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        from ds4d.rendering.kernels.projection import project

        *tensors, (width, height), settings = args
        arrays = [_array(x) for x in tensors]
        images, count = len(arrays[4]), arrays[0].shape[1]
        means2d, conics, depths = (torch.empty(images, count, *tail) for tail in ((2,), (3,), ()))
        radii = torch.empty(images, count, 2, dtype=torch.int32)
        planes = (settings.near_plane, settings.far_plane)
        filled = [x.numpy() for x in (means2d, conics, depths, radii)]
        parallel_for(
            project, arrays[0].shape[0] * count, _GAUSSIANS, *arrays, width, height, *planes, settings.eps2d, *filled
        )
        ctx.save_for_backward(*tensors[:3], *tensors[4:], conics, radii)
        ctx.size = (width, height)
        ctx.mark_non_differentiable(radii)
        return means2d, conics, depths, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_means2d: Tensor, d_conics: Tensor, d_depths: Tensor, _: Any) -> Gradients:
        """Gradients of means, quats and scales."""
        from ds4d.rendering.kernels.projection import project_backward

        saved = [_array(x) for x in ctx.saved_tensors]
        upstream = [_array(x) for x in (d_means2d, d_conics, d_depths)]
        gradients = [np.empty_like(x) for x in saved[:3]]
        items = saved[0].shape[0] * saved[0].shape[1]
        parallel_for(project_backward, items, _GAUSSIANS, *saved, *ctx.size, *upstream, *gradients)
        return *(torch.from_numpy(x) for x in gradients), None, None, None, None, None


@dataclass(frozen=True)
class _Bins:
    """The Gaussians of each tile, nearest first; see `kernels.binning.bin_tiles` for the arrays."""

    order: np.ndarray
    visible: np.ndarray
    slots: np.ndarray
    lists: tuple[np.ndarray, ...]  # records, ranks, rows, entries, tiles

    @property
    def num_tiles(self) -> int:
        """Number of tiles of all images."""
        images, bounds = self.lists[-1].shape
        return images * (bounds - 1)


def _bin(splats: tuple[np.ndarray, ...], width: int, height: int) -> _Bins:
    """Bins means2d, conics, opacities, colors, depths and radii."""
    from ds4d.rendering.kernels.binning import RECORD, bin_tiles, rank
    from ds4d.rendering.kernels.compositing import TILE_HEIGHT, TILE_WIDTH

    means2d, _, _, _, depths, radii = splats
    images, count = depths.shape
    sizes = (width, height, TILE_WIDTH, TILE_HEIGHT)
    order, visible, bounds = np.empty((images, count), np.int32), np.empty(images, np.int64), np.empty(images, np.int64)
    parallel_for(rank, images, _IMAGES, depths, radii, means2d, *sizes, order, visible, bounds)

    bases = np.concatenate(([0], bounds.cumsum()))
    pairs = bases[-1]
    slots = np.empty((images, count + 1), np.int64)
    lists = (
        np.empty((images, count, RECORD), np.float32),
        np.empty(pairs, np.int32),
        np.empty((pairs, 2), np.uint8),
        np.empty(pairs, np.int32),
        np.empty((images, -(-width // TILE_WIDTH) * -(-height // TILE_HEIGHT) + 1), np.int64),
    )
    parallel_for(bin_tiles, images, _IMAGES, *splats, *sizes, order, visible, bases, slots, *lists)
    return _Bins(order, visible, slots, lists)


class Composite(torch.autograd.Function):
    """Projected Gaussians over backgrounds: colors [I, 3, H, W], alphas [I, H, W], expected depths [I, H, W].

    Takes means2d, conics, opacities, colors, depths, radii, backgrounds [I, 3] and (width, height). Opacities
    [I / k, N] and colors [I / m, N, 3] may be shared by runs of k and m images.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        from ds4d.rendering.kernels.compositing import composite

        *splats, backgrounds, (width, height) = args
        bins = _bin(tuple(_array(x) for x in splats), width, height)
        backdrop = _array(backgrounds)
        colors = torch.empty(len(backdrop), 3, height, width)
        alphas, depths, transmittances, last = (torch.empty(len(backdrop), height, width) for _ in range(4))
        planes = [x.numpy() for x in (colors, alphas, depths, transmittances, last)]
        parallel_for(composite, bins.num_tiles, _TILES, *bins.lists, backdrop, *planes)
        ctx.bins, ctx.backdrop = bins, backdrop
        ctx.save_for_backward(alphas, depths, transmittances, last)
        ctx.groups = len(splats[2]), len(splats[3])
        ctx.set_materialize_grads(False)
        return colors, alphas, depths

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> Gradients:
        """Gradients of means2d, conics, opacities, colors, depths and backgrounds."""
        from ds4d.rendering.kernels.compositing import SLOT, composite_backward, sum_slots

        bins = ctx.bins
        images, count = bins.order.shape
        planes = [_array(x) for x in ctx.saved_tensors]
        single = planes[0].shape
        shapes = ((single[0], 3, *single[1:]), single, single)
        d_outputs = [np.zeros(n, np.float32) if x is None else _array(x) for n, x in zip(shapes, upstream, strict=True)]
        slots = np.empty((len(bins.lists[1]), SLOT), np.float32)
        parallel_for(composite_backward, bins.num_tiles, _TILES, *bins.lists, ctx.backdrop, *planes, *d_outputs, slots)
        sums = [np.empty((images, count, *tail), np.float32) for tail in ((2,), (3,), (), (3,), ())]
        parallel_for(sum_slots, images, _IMAGES, slots, bins.slots, bins.order, bins.visible, *sums)
        sums[2], sums[3] = _sum_runs(sums[2], ctx.groups[0]), _sum_runs(sums[3], ctx.groups[1])
        d_backgrounds = None
        if ctx.needs_input_grad[6]:
            d_backgrounds = torch.from_numpy((d_outputs[0] * planes[2][:, None]).sum((-2, -1)))
        return *(torch.from_numpy(x) for x in sums), None, d_backgrounds, None


def _sum_runs(gradients: np.ndarray, groups: int) -> np.ndarray:
    """Sums [I, ...] over runs of images that share one value."""
    images, *tail = gradients.shape
    return gradients if groups == images else gradients.reshape(groups, images // groups, *tail).sum(1)
