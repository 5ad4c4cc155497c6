"""Pairs of depth maps, of the front and the back of an object, as closed surfaces of colored Gaussians.

The depth maps may come from masks (`ds4d.multiview.inflate`) or from a learned model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import matrices_to_quats, rgb_to_sh
from ds4d.types import Cameras, Gaussians

_OPACITY = 0.99
_SPREAD = 0.6  # standard deviation of a Gaussian in units of the pixel spacing: no holes, little blur
_THICKNESS = 0.2  # of a Gaussian across the surface, in the same units
_MOST_BRIDGED = 8.0  # pixel spacings from a side towards the other at the mask boundary; more would be streaks
_RIM_FRACTION = 0.4  # width of a Gaussian at the mask boundary: a full one would extend beyond it


@dataclass(frozen=True)
class DepthPair:
    """Depth maps and colors of the front and the back of an object, as seen by one camera.

    Attributes:
        front: depth along the camera's z axis where the ray of a pixel enters the object, world units.
        back: depth where it leaves the object, not below `front`.
        inside: masks of the object; the other fields are meaningless elsewhere.
        front_colors: straight colors of the front in [0, 1].
        back_colors: straight colors of the back in [0, 1].
        front_confidence: how far the front is to be trusted, in [0, 1]; None if nothing is known of it.
        back_confidence: the same of the back and its colors.
    """

    front: Float[Tensor, "T H W"]
    back: Float[Tensor, "T H W"]
    inside: Bool[Tensor, "T H W"]
    front_colors: Float[Tensor, "T 3 H W"]
    back_colors: Float[Tensor, "T 3 H W"]
    front_confidence: Float[Tensor, "T H W"] | None = None
    back_confidence: Float[Tensor, "T H W"] | None = None

    def at_times(self, times: slice) -> "DepthPair":
        """The pairs of some times."""
        return DepthPair(**{name: value[times] for name, value in vars(self).items() if value is not None})


def surface_gaussians(pair: DepthPair, camera: Cameras) -> Gaussians:
    """One flat Gaussian per pixel and side, which covers the surface of its pixel at any slant.

    Front and back meet at the mask boundary, halfway between them, unless they are far apart.

    Args:
        pair: depth maps and colors.
        camera: camera of the depth maps, one view, which may move, for images of their size.

    Returns:
        Gaussians [T, N]; times with fewer pixels are padded with transparent Gaussians.
    """
    half = 0.5 * (pair.back - pair.front)
    most = _MOST_BRIDGED * (pair.front + half) / camera.Ks.reshape(-1, 3, 3)[:, 0, 0, None, None]
    reach = torch.minimum(half, most)
    sides = [
        _tangents(depths, meeting, pair.inside, camera)
        for depths, meeting in ((pair.front, pair.front + reach), (pair.back, pair.back - reach))
    ]
    points, across, down = (torch.cat([side[i].flatten(1, 2) for side in sides], 1) for i in range(3))
    colors = torch.cat([c.flatten(2).mT for c in (pair.front_colors, pair.back_colors)], 1)
    rows, visible = _packed(pair.inside.flatten(1).repeat(1, 2))
    points, across, down, colors = (_rows(x, rows) for x in (points, across, down, colors))
    quats, scales = _flat_ellipsoids(across, down)
    return Gaussians(points, quats, scales, _OPACITY * visible.float(), rgb_to_sh(colors)[:, :, None])


def _tangents(
    depths: Float[Tensor, "T H W"], meeting: Float[Tensor, "T H W"], inside: Bool[Tensor, "T H W"], camera: Cameras
) -> tuple[Float[Tensor, "T H W 3"], Float[Tensor, "T H W 3"], Float[Tensor, "T H W 3"]]:
    """World points on one side, and their derivatives along columns and rows.

    At the mask boundary a Gaussian is narrow, at the inner edge of its pixel, and extends along the ray to where the
    sides meet.
    """
    height, width = depths.shape[1:]
    Ks, viewmats = camera.Ks.reshape(-1, 3, 3), camera.viewmats.reshape(-1, 4, 4)
    rotations, translations = viewmats[:, None, :3, :3], viewmats[:, None, None, :3, 3]
    focals = Ks.diagonal(dim1=1, dim2=2)[:, None, None, :2]
    xs = torch.arange(width, device=depths.device) + 0.5
    ys = torch.arange(height, device=depths.device) + 0.5
    pixels = torch.stack((xs.expand(height, -1), ys[:, None].expand(-1, width)), dim=-1)
    flat = (pixels - Ks[:, None, None, :2, 2]) / focals
    rays = torch.cat((flat, torch.ones_like(flat[..., :1])), dim=-1)
    at_rim, tangents = torch.zeros_like(inside), []
    points = rays * depths[..., None]
    for axis in (0, 1):
        spacing = depths / focals[..., axis]
        slopes, outward = _slopes(depths, meeting, inside, -1 - axis)
        tangent = rays * slopes[..., None]
        tangent[..., axis] += spacing * torch.where(outward != 0, _RIM_FRACTION, 1.0)
        points[..., axis] -= 0.5 * (1 - _RIM_FRACTION) * outward * spacing
        at_rim |= outward != 0
        tangents.append(tangent @ rotations)
    towards_meeting = torch.where(at_rim, 0.5 * _SPREAD * (meeting - depths), 0.0)
    points = points + rays * towards_meeting[..., None]
    return (points - translations) @ rotations, tangents[0], tangents[1]


def _slopes(
    depths: Float[Tensor, "T H W"], meeting: Float[Tensor, "T H W"], inside: Bool[Tensor, "T H W"], axis: int
) -> tuple[Float[Tensor, "T H W"], Float[Tensor, "T H W"]]:
    """Derivatives of depth along an axis, and the side of the mask boundary: 1 after a pixel, -1 before it, else 0.

    Inside, the smaller of the differences to both neighbors, or 0 where their signs differ (minmod), so that a Gaussian
    at a step of the depth does not stretch across it. At the mask boundary, the difference to where the sides meet. The
    border of the image is no boundary.
    """
    size = depths.shape[axis]
    before, after = depths.roll(1, axis), depths.roll(-1, axis)
    empty_before, empty_after = ~inside.roll(1, axis), ~inside.roll(-1, axis)
    for values, empty, edge in ((before, empty_before, 0), (after, empty_after, size - 1)):
        values.narrow(axis, edge, 1).copy_(depths.narrow(axis, edge, 1))  # what was rolled over the border
        empty.narrow(axis, edge, 1).fill_(False)
    outward = empty_after.float() - empty_before.float()
    ahead, behind = after - depths, depths - before
    inner = torch.where(ahead * behind > 0, ahead.sign() * torch.minimum(ahead.abs(), behind.abs()), 0.0)
    slopes = torch.where(outward != 0, outward * (meeting - depths), inner)
    return torch.where(empty_after & empty_before, 0.0, slopes), outward


def _packed(visible: Bool[Tensor, "T P"]) -> tuple[Tensor, Tensor]:
    """Indices of the visible Gaussians of each time [T, N], padded, and which of the N are visible."""
    most = int(visible.sum(1).max())
    sorted_, rows = visible.int().sort(dim=1, descending=True, stable=True)
    return rows[:, :most], sorted_[:, :most] > 0


def _rows(values: Float[Tensor, "T P 3"], rows: Tensor) -> Float[Tensor, "T N 3"]:
    return values.gather(1, rows[..., None].expand(-1, -1, 3))


def _flat_ellipsoids(
    across: Float[Tensor, "T N 3"], down: Float[Tensor, "T N 3"]
) -> tuple[Float[Tensor, "T N 4"], Float[Tensor, "T N 3"]]:
    """Rotations and scales of flat Gaussians that cover parallelograms, by the first fundamental form."""
    e, f, g = (across * across).sum(-1), (across * down).sum(-1), (down * down).sum(-1)
    angle = 0.5 * torch.atan2(2 * f, e - g)[..., None]
    first = angle.cos() * across + angle.sin() * down
    second = angle.cos() * down - angle.sin() * across
    gap = torch.minimum(e, g).sqrt()
    normal = F.normalize(first.cross(second, dim=-1), dim=-1)
    axes = torch.stack((F.normalize(first, dim=-1), F.normalize(second, dim=-1), normal), dim=-1)
    lengths = torch.stack((_SPREAD * first.norm(dim=-1), _SPREAD * second.norm(dim=-1), _THICKNESS * gap), dim=-1)
    return matrices_to_quats(axes), lengths.clamp_min(1e-7)
