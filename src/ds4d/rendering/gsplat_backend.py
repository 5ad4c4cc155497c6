"""The CUDA renderer: gsplat's rasterization with the conventions of this package."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import install_command
from ds4d.geometry import evaluate_sh
from ds4d.geometry.spherical_harmonics import sh_degree
from ds4d.rendering.inputs import check_axes
from ds4d.rendering.settings import SplatSettings
from ds4d.types import Cameras, Gaussians, Rendering


class GsplatRenderer:
    """3D Gaussian splatting by gsplat's `rasterization`, compiled by gsplat at its first use.

    Takes float32 tensors on a CUDA device. Does not check for NaN, which would wait for the device.
    """

    def __init__(self, settings: SplatSettings | None = None) -> None:
        try:
            from gsplat import rasterization
        except ImportError as error:
            raise ImportError(f"GsplatRenderer needs gsplat. Install it with: {install_command('cuda')}") from error
        self.settings = settings or SplatSettings()
        self._rasterization = rasterization

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Renders the Gaussians of each time from the cameras of that time.

        Args:
            gaussians: Gaussians with the leading axes of the cameras.
            cameras: V cameras per time.
            backgrounds: background colors in [0, 1]; without them, colors are premultiplied.

        Raises:
            ValueError: the leading axes differ, or a tensor is not float32 on a CUDA device.
        """
        check_axes("GsplatRenderer", gaussians, cameras, backgrounds)
        _check_kind(gaussians, cameras)
        if gaussians.num_gaussians == 0:
            return _blank(gaussians, cameras, backgrounds)
        colors, degree = _colors(gaussians)
        images, alphas, meta = self._rasterization(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            colors,
            cameras.viewmats,
            cameras.Ks,
            cameras.width,
            cameras.height,
            near_plane=self.settings.near_plane,
            far_plane=self.settings.far_plane,
            eps2d=self.settings.eps2d,
            sh_degree=degree,
            packed=False,
            backgrounds=backgrounds,
            render_mode="RGB+ED",
        )
        info = {name: meta[name] for name in ("means2d", "radii", "depths")}
        if info["means2d"].requires_grad:
            info["means2d"].retain_grad()
        images = images.movedim(-1, -3)
        return Rendering(images[..., :3, :, :], alphas.movedim(-1, -3), images[..., 3:, :, :], info)


def _check_kind(gaussians: Gaussians, cameras: Cameras) -> None:
    for owner in (gaussians, cameras):
        for name, tensor in vars(owner).items():
            if isinstance(tensor, Tensor) and not (tensor.is_cuda and tensor.dtype == torch.float32):
                raise ValueError(
                    f"GsplatRenderer: {name} must be float32 on a CUDA device, got {tensor.dtype} on "
                    f"{tensor.device}. Move it there, or use CpuRenderer."
                )


def _colors(gaussians: Gaussians) -> tuple[Tensor, int | None]:
    """The colors for gsplat, and the SH degree that it evaluates per view (None: colors are final)."""
    degree = sh_degree(gaussians.sh.shape[-2])
    values = evaluate_sh(gaussians.sh, gaussians.means.new_ones(3)) if degree == 0 else gaussians.sh
    lead = gaussians.means.shape[:-1]
    return values.expand(*lead, *values.shape[-1 if degree == 0 else -2 :]), degree or None


def _blank(gaussians: Gaussians, cameras: Cameras, backgrounds: Float[Tensor, "*T V 3"] | None) -> Rendering:
    """The rendering of no Gaussians, which gsplat's kernels do not support."""
    lead = cameras.viewmats.shape[:-2]
    means2d = gaussians.means[..., None, :, :2].expand(*lead, 0, 2).clone()
    if means2d.requires_grad:
        means2d.retain_grad()
    # 0, and keeps the image differentiable in the same tensors as any other
    nothing = sum((tensor.sum() for tensor in vars(gaussians).values()), start=means2d.sum())
    alphas = nothing.expand(*lead, 1, cameras.height, cameras.width)
    colors = alphas.expand(*lead, 3, cameras.height, cameras.width)
    if backgrounds is not None:
        colors = colors + backgrounds[..., None, None]
    info = {
        "means2d": means2d,
        "radii": gaussians.means.new_zeros(*lead, 0, 2, dtype=torch.int32),
        "depths": gaussians.means.new_zeros(*lead, 0),
    }
    return Rendering(colors, alphas, alphas, info)
