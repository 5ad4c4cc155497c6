"""The CPU renderer: numba kernels over tiles, on all cores, for all images of a batch at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.rendering.cpu_autograd import Composite, Project
from ds4d.rendering.inputs import check_axes, check_no_nan, view_colors
from ds4d.rendering.settings import SplatSettings
from ds4d.types import Cameras, Gaussians, Rendering


class CpuRenderer:
    """3D Gaussian splatting with gsplat 1.5's classic rasterization, compiled at its first use.

    Takes float32 tensors on the CPU and uses torch.get_num_threads() threads; results are bit-identical for any number
    of threads. Gaussians and backgrounds get gradients, cameras do not.
    """

    def __init__(self, settings: SplatSettings | None = None) -> None:
        self.settings = settings or SplatSettings()

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Renders the Gaussians of each time from the cameras of that time.

        Args:
            gaussians: Gaussians in float32, with the leading axes of the cameras.
            cameras: V cameras per time.
            backgrounds: background colors in [0, 1]; without them, colors are premultiplied.

        Raises:
            ValueError: the leading axes differ, a tensor is not float32 on the CPU, or something is NaN.
        """
        check_axes("CpuRenderer", gaussians, cameras, backgrounds)
        _check_kind(gaussians, cameras)
        check_no_nan("CpuRenderer", gaussians, cameras)
        lead = cameras.viewmats.shape[:-2]
        size = (cameras.width, cameras.height)
        shapes = tuple(_flat(x, len(lead) - 1) for x in (gaussians.means, gaussians.quats, gaussians.scales))
        opacities = _flat(gaussians.opacities, len(lead) - 1)
        viewmats, Ks = _flat(cameras.viewmats, len(lead)), _flat(cameras.Ks, len(lead))
        means2d, conics, depths, radii = Project.apply(*shapes, opacities, viewmats, Ks, size, self.settings)
        means2d = means2d.unflatten(0, lead)
        if means2d.requires_grad:
            means2d.retain_grad()
        splats = (_flat(means2d, len(lead)), conics, opacities, view_colors(gaussians, cameras).flatten(0, -3))
        backdrop = viewmats.new_zeros(len(viewmats), 3) if backgrounds is None else _flat(backgrounds, len(lead))
        colors, alphas, expected = Composite.apply(*splats, depths, radii, backdrop, size)
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
