"""The reference renderer in plain torch: slow, exact, in any floating-point type, on any device.

The other renderers are tested against it. It has no tiles: each pixel blends each visible Gaussian. The image is the
same, because the extent of a Gaussian contains every pixel where its alpha reaches the threshold.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ds4d.geometry import quats_to_matrices
from ds4d.rendering.inputs import check_axes, check_no_nan, view_colors
from ds4d.rendering.settings import ALPHA_CUT, MAX_ALPHA, MAX_EXTENT, MIN_TRANSMITTANCE, SplatSettings
from ds4d.types import Cameras, Gaussians, Rendering

_PAIRS_PER_CHUNK = 2**22  # (pixel, Gaussian) pairs held at once: some ten tensors of 16 MB in float32


class ReferenceRenderer:
    """3D Gaussian splatting (Kerbl et al. 2023) with gsplat 1.5's classic rasterization, by torch's autograd.

    Memory stays at a few hundred MB: pixels are rendered in chunks, and again in the backward pass.
    """

    def __init__(self, settings: SplatSettings | None = None) -> None:
        self.settings = settings or SplatSettings()

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, backgrounds: Float[Tensor, "*T V 3"] | None = None
    ) -> Rendering:
        """Renders the Gaussians of each time from the cameras of that time.

        Args:
            gaussians: Gaussians with the leading axes of the cameras.
            cameras: V cameras per time.
            backgrounds: background colors in [0, 1]; without them, colors are premultiplied.

        Raises:
            ValueError: the leading axes differ, or a value is NaN.
        """
        check_axes("ReferenceRenderer", gaussians, cameras, backgrounds)
        check_no_nan("ReferenceRenderer", gaussians, cameras)
        cameras = cameras.to(gaussians.means.dtype)
        means2d, conics, depths, radii = _project(gaussians, cameras, self.settings)
        if means2d.requires_grad:
            means2d.retain_grad()
        colors = view_colors(gaussians, cameras).expand(*depths.shape, 3)
        values = torch.cat((colors, depths[..., None]), dim=-1)
        opacities = gaussians.opacities[..., None, :].expand(depths.shape)
        lead, size = depths.shape[:-1], (cameras.height, cameras.width)
        per_image = (x.flatten(0, len(lead) - 1) for x in (means2d, conics, opacities, values, depths, radii))
        images = torch.stack([_render_image(*image, size) for image in zip(*per_image, strict=True)])
        colors, weighted_depths, alphas = images.unflatten(0, lead).split((3, 1, 1), dim=-3)
        if backgrounds is not None:
            colors = colors + (1 - alphas) * backgrounds[..., None, None]
        return Rendering(
            colors=colors,
            alphas=alphas,
            depths=weighted_depths / alphas.clamp_min(1e-10),
            info={"means2d": means2d, "radii": radii, "depths": depths},
        )


def _project(
    gaussians: Gaussians, cameras: Cameras, settings: SplatSettings
) -> tuple[Float[Tensor, "*T V N 2"], Float[Tensor, "*T V N 3"], Float[Tensor, "*T V N"], Int[Tensor, "*T V N 2"]]:
    """Means, conics (the upper triangle of the inverse covariance), depths and radii of the Gaussians in pixels.

    EWA splatting (Zwicker et al. 2001): the covariance goes through the projection's Jacobian at the mean.
    """
    rotations, translations = cameras.viewmats[..., :3, :3], cameras.viewmats[..., :3, 3]
    in_camera = torch.einsum("...vij,...nj->...vni", rotations, gaussians.means) + translations[..., None, :]
    depths = in_camera[..., 2]
    in_range = (depths >= settings.near_plane) & (depths <= settings.far_plane)
    in_camera = torch.where(in_range[..., None], in_camera, in_camera.new_tensor([0.0, 0.0, 1.0]))
    means2d = _to_pixels(in_camera, cameras)

    axes = quats_to_matrices(gaussians.quats) * gaussians.scales[..., None, :]
    axes2d = _jacobians(in_camera, cameras) @ rotations[..., None, :, :] @ axes[..., None, :, :, :]
    covariances = axes2d @ axes2d.mT + settings.eps2d * torch.eye(2, dtype=axes.dtype, device=axes.device)
    xx, xy, yy = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
    determinants = xx * yy - xy * xy
    solid = in_range & (determinants > 0)
    conics = torch.stack((yy, -xy, xx), dim=-1) / torch.where(solid, determinants, 1.0)[..., None]

    opacities = gaussians.opacities[..., None, :].detach()
    extents = (2 * (opacities / ALPHA_CUT).clamp_min(1).log()).sqrt().clamp_max(MAX_EXTENT)
    radii = (extents[..., None] * torch.stack((xx, yy), dim=-1).detach().sqrt()).ceil()
    size = radii.new_tensor([cameras.width, cameras.height])
    on_screen = ((means2d + radii > 0) & (means2d - radii < size) & (radii > 0)).all(dim=-1)
    visible = solid & on_screen & (opacities >= ALPHA_CUT)
    return means2d, conics, depths, (radii * visible[..., None]).int()


def _to_pixels(in_camera: Float[Tensor, "*T V N 3"], cameras: Cameras) -> Float[Tensor, "*T V N 2"]:
    focal = cameras.Ks.diagonal(dim1=-2, dim2=-1)[..., None, :2]
    return in_camera[..., :2] / in_camera[..., 2:] * focal + cameras.Ks[..., None, :2, 2]


def _jacobians(in_camera: Float[Tensor, "*T V N 3"], cameras: Cameras) -> Float[Tensor, "*T V N 2 3"]:
    """Derivatives of pixel coordinates by camera points, at slopes clamped to 0.15 of the image size outside the image.

    Far off the axis, the local affine approximation would stretch Gaussians without bound.
    """
    focal = cameras.Ks.diagonal(dim1=-2, dim2=-1)[..., None, :2]
    center = cameras.Ks[..., None, :2, 2]
    size = focal.new_tensor([cameras.width, cameras.height])
    margin = 0.3 * 0.5 * size / focal
    z = in_camera[..., 2]
    slopes = in_camera[..., :2] / z[..., None]
    slopes = slopes.minimum((size - center) / focal + margin).maximum(-center / focal - margin)
    dx, dy = (focal / z[..., None]).unbind(-1)
    dz = -focal * slopes / z[..., None]
    zero = torch.zeros_like(z)
    return torch.stack((dx, zero, dz[..., 0], zero, dy, dz[..., 1]), dim=-1).unflatten(-1, (2, 3))


def _render_image(
    means2d: Float[Tensor, "N 2"],
    conics: Float[Tensor, "N 3"],
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "N 4"],
    depths: Float[Tensor, " N"],
    radii: Int[Tensor, "N 2"],
    size: tuple[int, int],
) -> Float[Tensor, "5 H W"]:
    """One image: color, weighted depth and alpha."""
    visible = (radii[:, 0] > 0).nonzero().squeeze(1)
    order = visible[depths[visible].argsort(stable=True)]
    splats = tuple(x[order] for x in (means2d, conics, opacities, values))
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((columns, rows), dim=-1).reshape(-1, 2).to(means2d) + 0.5
    chunks = pixels.split(max(1, _PAIRS_PER_CHUNK // max(1, len(order))))
    rendered = [
        checkpoint(_composite, chunk, *splats, use_reentrant=False, preserve_rng_state=False) for chunk in chunks
    ]
    return torch.cat(rendered).T.unflatten(1, size)


def _composite(
    pixels: Float[Tensor, "P 2"],
    means2d: Float[Tensor, "N 2"],
    conics: Float[Tensor, "N 3"],
    opacities: Float[Tensor, " N"],
    values: Float[Tensor, "N 4"],
) -> Float[Tensor, "P 5"]:
    """Alpha compositing of Gaussians sorted nearest first (Kerbl et al. 2023, Eq. 3)."""
    dx, dy = (means2d - pixels[:, None]).unbind(-1)
    sigmas = 0.5 * (conics[:, 0] * dx * dx + conics[:, 2] * dy * dy) + conics[:, 1] * dx * dy
    alphas = (opacities * (-sigmas).exp()).clamp_max(MAX_ALPHA)
    alphas = torch.where((sigmas >= 0) & (alphas >= ALPHA_CUT), alphas, 0.0)
    after = (1 - alphas).cumprod(dim=1)
    before = torch.cat((torch.ones_like(after[:, :1]), after[:, :-1]), dim=1)
    weights = torch.where(after > MIN_TRANSMITTANCE, alphas * before, 0.0)
    return torch.cat((weights @ values, weights.sum(dim=1, keepdim=True)), dim=1)
