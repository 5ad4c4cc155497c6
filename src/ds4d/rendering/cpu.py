"""The splatter for processors: numba kernels over tiles, all cores, all images of a batch at once."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import evaluate_sh
from ds4d.rendering.checks import check_axes, refuse_nan
from ds4d.rendering.settings import SplatSettings
from ds4d.rendering.threads import share
from ds4d.types import Cameras, Gaussians, Rendering

# Items per kernel that are worth handing to another thread.
_GAUSSIANS, _TILES, _IMAGES = 1000, 8, 1


class CpuRenderer:
    """3D Gaussian splatting with gsplat 1.5's classic rasterisation, compiled for the processor at its first use.

    Takes float32 tensors on the CPU and uses torch.get_num_threads() threads; equal input gives equal bits, whatever
    their number. Gradients reach the Gaussians and the backgrounds, not the cameras.
    """

    def __init__(self, settings: SplatSettings | None = None) -> None:
        self.settings = settings or SplatSettings()

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Draws the Gaussians of each time into the cameras of that time.

        Args:
            gaussians: float32, with the leading axes of the cameras.
            cameras: V per time.
            backgrounds: colours in [0, 1]; without them the colours come premultiplied.

        Raises:
            ValueError: the leading axes differ, a tensor is not float32 on the CPU, or something is NaN.
        """
        check_axes("CpuRenderer", gaussians, cameras, backgrounds)
        _check_kind(gaussians, cameras)
        refuse_nan("CpuRenderer", gaussians, cameras)
        lead = cameras.viewmats.shape[:-2]
        size = (cameras.width, cameras.height)
        times = tuple(_flat(x, len(lead) - 1) for x in (gaussians.means, gaussians.quats, gaussians.scales))
        opacities = _flat(gaussians.opacities, len(lead) - 1)
        viewmats, Ks = _flat(cameras.viewmats, len(lead)), _flat(cameras.Ks, len(lead))
        means2d, conics, depths, radii = _Project.apply(*times, opacities, viewmats, Ks, size, self.settings)
        means2d = means2d.unflatten(0, lead)
        if means2d.requires_grad:
            means2d.retain_grad()
        colors, alphas, expected = _Composite.apply(
            means2d.flatten(0, len(lead) - 1),
            conics,
            depths,
            opacities,
            _view_colors(gaussians, cameras),
            None if backgrounds is None else _flat(backgrounds, len(lead)),
            radii,
            size,
        )
        return Rendering(
            colors=colors.unflatten(0, lead),
            alphas=alphas[:, None].unflatten(0, lead),
            depths=expected[:, None].unflatten(0, lead),
            info={"means2d": means2d, "radii": radii.unflatten(0, lead), "depths": depths.unflatten(0, lead)},
        )


def _check_kind(gaussians: Gaussians, cameras: Cameras) -> None:
    for owner in (gaussians, cameras):
        for name, tensor in vars(owner).items():
            if isinstance(tensor, Tensor) and (tensor.dtype != torch.float32 or tensor.device.type != "cpu"):
                raise ValueError(
                    f"CpuRenderer: {name} must be float32 on the CPU, got {tensor.dtype} on {tensor.device}. "
                    "Call .float(), or use ReferenceRenderer for other types and GsplatRenderer for CUDA."
                )


def _flat(tensor: Tensor, axes: int) -> Tensor:
    """The first `axes` axes as one (of size 1 if there are none)."""
    return tensor.flatten(0, axes - 1) if axes else tensor[None]


def _view_colors(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "I N 3"]:
    """Colours in [0, inf), with as few leading entries as they differ: one per image, per time, or one for all."""
    bases = gaussians.sh.shape[-2]
    if bases == 1:  # no dependence on the direction
        colors = evaluate_sh(gaussians.sh, torch.ones(3))
        return _flat(colors, colors.ndim - 2)
    centres = torch.linalg.inv(cameras.viewmats)[..., :3, 3]
    directions = gaussians.means[..., None, :, :] - centres[..., None, :]
    sh = gaussians.sh[..., None, :, :, :] if gaussians.sh.ndim > 3 else gaussians.sh
    colors = evaluate_sh(sh, directions)
    return _flat(colors, colors.ndim - 2)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _Project(torch.autograd.Function):
    """Gaussians [T, N] into images [I]: means2d, conics, depths, radii."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        size: tuple[int, int],
        settings: SplatSettings,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        from ds4d.rendering.kernels.projection import project

        images, count = len(viewmats), means.shape[1]
        means2d, conics, depths = (means.new_empty(images, count, *tail) for tail in ((2,), (3,), ()))
        radii = torch.empty(images, count, 2, dtype=torch.int32)
        inputs = [_array(x) for x in (means, quats, scales, opacities, viewmats, Ks)]
        outputs = [x.numpy() for x in (means2d, conics, depths, radii)]
        share(
            project,
            images * count,
            _GAUSSIANS,
            *inputs,
            *size,
            settings.near_plane,
            settings.far_plane,
            settings.eps2d,
            *outputs,
        )
        ctx.save_for_backward(means, quats, scales, viewmats, Ks, conics, radii)
        ctx.size = size
        ctx.mark_non_differentiable(radii)
        return means2d, conics, depths, radii

    @staticmethod
    def backward(ctx: Any, d_means2d: Tensor, d_conics: Tensor, d_depths: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        from ds4d.rendering.kernels.projection import project_backward

        means, quats, scales, viewmats, Ks, conics, radii = (_array(x) for x in ctx.saved_tensors)
        upstream = (_array(x) for x in (d_means2d, d_conics, d_depths))
        grads = [np.empty_like(x) for x in (means, quats, scales)]
        share(
            project_backward,
            means.shape[0] * means.shape[1],
            _GAUSSIANS,
            means,
            quats,
            scales,
            viewmats,
            Ks,
            *ctx.size,
            conics,
            radii,
            *upstream,
            *grads,
        )
        return *(torch.from_numpy(x) for x in grads), None, None, None, None, None


class _Composite(torch.autograd.Function):
    """Projected Gaussians over backgrounds: colors [I, 3, H, W], alphas [I, H, W], expected depths [I, H, W]."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        conics: Tensor,
        depths: Tensor,
        opacities: Tensor,
        colors: Tensor,
        backgrounds: Tensor | None,
        radii: Tensor,
        size: tuple[int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        from ds4d.rendering.kernels.binning import RECORD, TILE_HEIGHT, TILE_WIDTH, bin_tiles, rank
        from ds4d.rendering.kernels.compositing import composite

        images, count = depths.shape
        width, height = size
        order, drawn, bounds = (
            np.empty((images, count), np.int32),
            np.empty(images, np.int64),
            np.empty(images, np.int64),
        )
        splats = [_array(x) for x in (means2d, conics, opacities, colors, depths, radii)]
        share(rank, images, _IMAGES, splats[4], splats[5], splats[0], width, height, order, drawn, bounds)
        bases = np.concatenate(([0], bounds.cumsum()))
        pairs = bases[-1]
        records = np.empty((images, count, RECORD), np.float32)
        slots = np.empty((images, count + 1), np.int64)
        ranks, rows, entries = np.empty(pairs, np.int32), np.empty((pairs, 2), np.uint8), np.empty(pairs, np.int32)
        tiles = np.empty((images, -(-width // TILE_WIDTH) * -(-height // TILE_HEIGHT) + 1), np.int64)
        share(
            bin_tiles,
            images,
            _IMAGES,
            *splats,
            width,
            height,
            order,
            drawn,
            bases,
            records,
            slots,
            ranks,
            rows,
            entries,
            tiles,
        )

        behind = np.zeros((images, 3), np.float32) if backgrounds is None else _array(backgrounds)
        out = torch.empty(images, 3, height, width)
        planes = [torch.empty(images, height, width) for _ in range(3)]
        last = np.empty((images, height, width), np.float32)
        lists = (records, ranks, rows, entries, tiles)
        share(
            composite,
            images * (tiles.shape[1] - 1),
            _TILES,
            *lists,
            behind,
            out.numpy(),
            *(x.numpy() for x in planes),
            last,
        )
        alphas, expected, transmittances = planes
        ctx.lists, ctx.slots, ctx.order, ctx.drawn, ctx.last = lists, slots, order, drawn, last
        ctx.behind = behind
        ctx.shapes = opacities.shape, colors.shape
        ctx.save_for_backward(alphas, expected, transmittances)
        return out, alphas, expected

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, d_alphas: Tensor, d_expected: Tensor) -> tuple[Tensor | None, ...]:
        from ds4d.rendering.kernels.compositing import SLOT, composite_backward, sum_slots

        alphas, expected, transmittances = (x.numpy() for x in ctx.saved_tensors)
        upstream = [_array(x) for x in (d_out, d_alphas, d_expected)]
        images, count = ctx.order.shape
        gradients = np.empty((len(ctx.lists[1]), SLOT), np.float32)
        share(
            composite_backward,
            images * (ctx.lists[4].shape[1] - 1),
            _TILES,
            *ctx.lists,
            ctx.behind,
            alphas,
            expected,
            transmittances,
            ctx.last,
            *upstream,
            gradients,
        )
        grads = [np.empty((images, count, *tail), np.float32) for tail in ((2,), (3,), (), (3,), ())]
        share(sum_slots, images, _IMAGES, gradients, ctx.slots, ctx.order, ctx.drawn, *grads)
        d_means2d, d_conics, d_opacities, d_colors, d_depths = (torch.from_numpy(x) for x in grads)
        opacity_shape, color_shape = ctx.shapes
        d_backgrounds = None
        if ctx.needs_input_grad[5]:
            d_backgrounds = torch.from_numpy((upstream[0] * transmittances[:, None]).sum((-2, -1)))
        return (
            d_means2d,
            d_conics,
            d_depths,
            _per_group(d_opacities, opacity_shape),
            _per_group(d_colors, color_shape),
            d_backgrounds,
            None,
            None,
        )


def _per_group(grads: Tensor, shape: torch.Size) -> Tensor:
    """Sums gradients [I, ...] over the runs of images that shared one value."""
    return grads.unflatten(0, (shape[0], -1)).sum(1) if shape[0] else grads.sum(0)
