"""A front and a back depth behind every pixel, as a closed surface of coloured Gaussians.

Where the depths come from does not matter here: from a silhouette (`ds4d.views.inflate`) or from a learned model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import matrices_to_quats, rgb_to_sh
from ds4d.types import Cameras, Gaussians

_OPACITY = 0.99
_SPREAD = 0.6  # standard deviation of a Gaussian in units of the gap between pixels: no holes, little blur
_THICKNESS = 0.2  # of a Gaussian across the surface, in the same units
_RIM_SHARE = 0.4  # of a Gaussian's width at the rim: a whole one would reach beyond it and swell the silhouette


@dataclass(frozen=True)
class DepthPair:
    """What one camera sees of an object, and how deep the object is there.

    Attributes:
        front: depth along the camera's z axis where each pixel's ray enters the object, world units.
        back: the same where it leaves the object, not below `front`.
        inside: the silhouettes; elsewhere nothing is read.
        front_colors: straight, in [0, 1].
        back_colors: of the far side.
    """

    front: Float[Tensor, "T H W"]
    back: Float[Tensor, "T H W"]
    inside: Bool[Tensor, "T H W"]
    front_colors: Float[Tensor, "T 3 H W"]
    back_colors: Float[Tensor, "T 3 H W"]

    def at_time(self, time: int) -> "DepthPair":
        """One time, which keeps its axis."""
        return DepthPair(**{name: getattr(self, name)[time : time + 1] for name in self.__dataclass_fields__})


def surface_gaussians(pair: DepthPair, camera: Cameras) -> Gaussians:
    """One Gaussian per pixel and side, flat on the surface and as wide as its pixel, however the surface slants.

    Front and back meet at the silhouette's rim.

    Args:
        pair: the depths.
        camera: which saw them: one view without a time axis, for pictures of their size.

    Returns:
        Gaussians [T, N]; times with fewer pixels are filled up with Gaussians that are not drawn.
    """
    middle = 0.5 * (pair.front + pair.back)
    sides = [_tangents(depths, middle, pair.inside, camera) for depths in (pair.front, pair.back)]
    points, across, down = (torch.cat([side[i].flatten(1, 2) for side in sides], 1) for i in range(3))
    colors = torch.cat([c.flatten(2).mT for c in (pair.front_colors, pair.back_colors)], 1)
    drawn = pair.inside.flatten(1).repeat(1, 2)
    rows, shown = _packed(drawn)
    points, across, down, colors = (_rows(x, rows) for x in (points, across, down, colors))
    quats, scales = _flat_ellipsoids(across, down)
    return Gaussians(points, quats, scales, _OPACITY * shown.float(), rgb_to_sh(colors)[:, :, None])


def _tangents(
    depths: Float[Tensor, "T H W"], middle: Float[Tensor, "T H W"], inside: Bool[Tensor, "T H W"], camera: Cameras
) -> tuple[Float[Tensor, "T H W 3"], Float[Tensor, "T H W 3"], Float[Tensor, "T H W 3"]]:
    """World points on one side, and how they move from one column, and one row, to the next."""
    height, width = depths.shape[1:]
    K, rotation, translation = camera.Ks[0], camera.viewmats[0, :3, :3], camera.viewmats[0, :3, 3]
    xs = (torch.arange(width, device=depths.device) + 0.5 - K[0, 2]) / K[0, 0]
    ys = (torch.arange(height, device=depths.device) + 0.5 - K[1, 2]) / K[1, 1]
    rays = torch.stack((xs.expand(height, -1), ys[:, None].expand(-1, width), torch.ones_like(depths[0])), dim=-1)
    slope_x, slope_y = (_slopes(depths, middle, inside, axis) for axis in (-1, -2))
    points, across, down = rays * depths[..., None], rays * slope_x[..., None], rays * slope_y[..., None]
    across[..., 0] += depths / K[0, 0]
    down[..., 1] += depths / K[1, 1]
    for tangent, axis in ((across, -1), (down, -2)):
        outward = _outward(inside, axis)[..., None]
        points = points - 0.5 * (1 - _RIM_SHARE) * outward * tangent
        tangent *= torch.where(outward != 0, _RIM_SHARE, 1.0)
    return (points - translation) @ rotation, across @ rotation, down @ rotation


def _outward(inside: Tensor, axis: int) -> Float[Tensor, "T H W"]:
    """1 where the rim lies after a pixel on this axis, -1 where before; 0 within, and where it lies on both sides."""
    size = inside.shape[axis]
    outside = (~inside).float()
    after, before = outside.roll(-1, axis), outside.roll(1, axis)
    after.narrow(axis, size - 1, 1).zero_()  # the picture's edge is no rim
    before.narrow(axis, 0, 1).zero_()
    return after - before


def _slopes(depths: Tensor, middle: Tensor, inside: Tensor, axis: int) -> Float[Tensor, "T H W"]:
    """Central differences along an axis; beyond the rim the surface has closed, half-way between front and back."""
    before, after = (torch.where(inside.roll(shift, axis), depths.roll(shift, axis), middle) for shift in (1, -1))
    size = depths.shape[axis]
    # What rolled over the picture's edge is no neighbour: there the surface goes on level.
    before.narrow(axis, 0, 1).copy_(depths.narrow(axis, 0, 1))
    after.narrow(axis, size - 1, 1).copy_(depths.narrow(axis, size - 1, 1))
    return 0.5 * (after - before)


def _packed(drawn: Bool[Tensor, "T P"]) -> tuple[Tensor, Tensor]:
    """The columns that are drawn at each time [T, N], the others left out, and which of the N count."""
    most = int(drawn.sum(1).max())
    shown, rows = drawn.int().sort(dim=1, descending=True, stable=True)
    return rows[:, :most], shown[:, :most] > 0


def _rows(values: Float[Tensor, "T P 3"], rows: Tensor) -> Float[Tensor, "T N 3"]:
    return values.gather(1, rows[..., None].expand(-1, -1, 3))


def _flat_ellipsoids(
    across: Float[Tensor, "T N 3"], down: Float[Tensor, "T N 3"]
) -> tuple[Float[Tensor, "T N 4"], Float[Tensor, "T N 3"]]:
    """Rotations and scales of flat Gaussians that cover parallelograms, by the first fundamental form's main axes."""
    e, f, g = (across * across).sum(-1), (across * down).sum(-1), (down * down).sum(-1)
    angle = 0.5 * torch.atan2(2 * f, e - g)[..., None]
    first = angle.cos() * across + angle.sin() * down
    second = angle.cos() * down - angle.sin() * across
    gap = torch.minimum(e, g).sqrt()
    normal = F.normalize(first.cross(second, dim=-1), dim=-1)
    axes = torch.stack((F.normalize(first, dim=-1), F.normalize(second, dim=-1), normal), dim=-1)
    lengths = torch.stack((_SPREAD * first.norm(dim=-1), _SPREAD * second.norm(dim=-1), _THICKNESS * gap), dim=-1)
    return matrices_to_quats(axes), lengths.clamp_min(1e-7)
