"""The visual hull: the largest shape that agrees with every silhouette, carved from a grid of voxels.

Grids are [R, R, R] booleans over a box `aabb`, indexed x, y, z; voxel centers lie at (i + 0.5) / R of the box.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.geometry.projection import project_points
from ds4d.types import Cameras


@dataclass(frozen=True)
class HullConfig:
    """How silhouettes are carved.

    Attributes:
        resolution: voxels along each side of the box.
        grow: pixels by which silhouettes are grown at 256 px, so that small disagreements between views do no harm.
        view_tolerance: how many views may disagree where silhouettes would otherwise stay unexplained.
    """

    resolution: int = 96
    grow: float = 1.5
    view_tolerance: int = 2

    def __post_init__(self) -> None:
        check_ranges(self, resolution="[2, inf)", grow="[0, inf)", view_tolerance="[0, inf)")


def carve(
    alphas: Float[Tensor, "V 1 H W"], cameras: Cameras, aabb: Float[Tensor, "2 3"], config: HullConfig
) -> Bool[Tensor, "R R R"]:
    """Voxels that lie in every silhouette, and those with a few votes less where silhouettes stay unexplained.

    Strict carving comes first. Views that were generated disagree; lowering the vote everywhere would swell the hull,
    so it is lowered only for voxels that project on pixels of a silhouette which no voxel accounts for yet.

    Args:
        alphas: coverage in [0, 1]; a pixel belongs to the silhouette above 0.5.
        cameras: V cameras without a time axis.
        aabb: the box (min, max) to carve in.
        config: see `HullConfig`.
    """
    centers = voxel_centers(aabb, config.resolution)
    radius = round(config.grow * cameras.width / 256)
    silhouettes = (alphas > 0.5).float()
    grown = F.max_pool2d(silhouettes, 2 * radius + 1, stride=1, padding=radius) > 0.5
    pixels, seen = _pixel_indices(centers, cameras)
    inside = grown.flatten(1).gather(1, pixels) & seen
    # Beyond the image nothing is object, unless the image cuts the object off: then the view has no say there.
    has_say = seen | ~_touches_border(silhouettes)[:, None]
    missed = (has_say & ~inside).sum(0)
    strict = (missed == 0) & inside.any(0)
    hull = strict
    for votes in range(1, min(config.view_tolerance, cameras.num_views - 2) + 1):
        unexplained = (silhouettes > 0.5) & ~_coverage(hull, centers, aabb, cameras, config.resolution)
        wanted = (unexplained.flatten(1).gather(1, pixels) & inside).any(0)
        hull = hull | (wanted & (missed <= votes) & (has_say.sum(0) > votes))
    return hull.view(config.resolution, config.resolution, config.resolution)


def occupied_bounds(hull: Bool[Tensor, "R R R"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """The box (min, max) of the occupied voxels.

    Raises:
        ValueError: no voxel is occupied.
    """
    occupied = hull.nonzero()
    if len(occupied) == 0:
        raise ValueError(
            "visual hull: the silhouettes must overlap in space, got none that do. Check the cameras (--rig, where "
            "there is one) and the masks."
        )
    size = (aabb[1] - aabb[0]) / hull.shape[0]
    low, high = occupied.amin(0), occupied.amax(0) + 1
    return torch.stack((aabb[0] + low * size, aabb[0] + high * size))


def surface_voxels(hull: Bool[Tensor, "R R R"]) -> Bool[Tensor, "R R R"]:
    """Occupied voxels with at least one empty neighbor across a face."""
    padded = F.pad(hull.float()[None, None], (1, 1, 1, 1, 1, 1))
    eroded = hull.clone()
    for axis in (2, 3, 4):
        size = hull.shape[axis - 2]
        for shift in (0, 2):
            window = [slice(None), slice(None), slice(1, -1), slice(1, -1), slice(1, -1)]
            window[axis] = slice(shift, shift + size)
            eroded &= padded[tuple(window)][0, 0] > 0.5
    return hull & ~eroded


def sample_surface(
    hull: Bool[Tensor, "R R R"], aabb: Float[Tensor, "2 3"], count: int, generator: torch.Generator
) -> Float[Tensor, "N 3"]:
    """`count` points spread evenly over the surface voxels, jittered inside them."""
    voxels = surface_voxels(hull).nonzero().cpu()
    if len(voxels) == 0:
        raise ValueError("sample_surface: the hull must hold at least one voxel, got an empty one.")
    order = torch.cat([torch.randperm(len(voxels), generator=generator) for _ in range(-(-count // len(voxels)))])[
        :count
    ]
    jitter = torch.rand(count, 3, generator=generator)
    unit = (voxels[order] + jitter) / hull.shape[0]
    return (aabb[0].cpu() + unit * (aabb[1] - aabb[0]).cpu()).to(aabb)


def color_points(
    points: Float[Tensor, "N 3"],
    images: Float[Tensor, "V 3 H W"],
    alphas: Float[Tensor, "V 1 H W"],
    cameras: Cameras,
    view_weights: Float[Tensor, " V"],
    *,
    tolerance: float,
    unseen: Float[Tensor, "N 3"] | None = None,
) -> Float[Tensor, "N 3"]:
    """Each point's color: the mean over the views that see it.

    A view sees a point when no other point lies more than `tolerance` in front of it, by a depth buffer that is
    coarse enough for the points to close.

    Args:
        points: world units.
        images: premultiplied color in [0, 1].
        alphas: coverage in [0, 1].
        cameras: V cameras without a time axis.
        view_weights: trust in each view.
        tolerance: depth, world units.
        unseen: colors of the points that no view sees, in [0, 1]; gray if None.
    """
    pixels, depths = project_points(points, cameras)
    size = max(16, min(cameras.width, int(points.shape[0] ** 0.5) // 2))
    coarse = cameras.resized(size, max(1, round(size * cameras.height / cameras.width)))
    cells, in_view = _pixel_indices(points, coarse)
    buffer = depths.new_full((cameras.num_views, coarse.width * coarse.height), torch.inf)
    buffer.scatter_reduce_(1, cells, torch.where(in_view, depths, torch.inf), "amin")
    visible = in_view & (depths <= buffer.gather(1, cells) + tolerance)
    extent = pixels.new_tensor([cameras.width, cameras.height])
    grid = (2 * pixels / extent - 1)[:, :, None]
    colors = F.grid_sample(torch.cat((images, alphas), 1), grid, align_corners=False)[..., 0]
    coverage = colors[:, 3]
    weights = visible * (coverage > 0.5) * coverage * view_weights[:, None]
    total = weights.sum(0)
    straight = colors[:, :3] / coverage.clamp_min(0.5)[:, None]
    mean = (straight * weights[:, None]).sum(0) / total.clamp_min(1e-8)
    otherwise = torch.full_like(mean, 0.5) if unseen is None else unseen.T
    return torch.where(total > 0, mean, otherwise).T.clamp(0, 1)


def voxel_centers(aabb: Float[Tensor, "2 3"], resolution: int) -> Float[Tensor, "P 3"]:
    """Centres of all P = resolution^3 voxels, x slowest."""
    unit = (torch.arange(resolution, device=aabb.device) + 0.5) / resolution
    grid = torch.stack(torch.meshgrid(unit, unit, unit, indexing="ij"), dim=-1).view(-1, 3)
    return aabb[0] + grid * (aabb[1] - aabb[0])


def _pixel_indices(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Flat pixel index of each point in each view [V, N], and whether the view sees that place at all."""
    pixels, depths = project_points(points, cameras)
    column, row = pixels.floor().clamp(-1, 1 << 20).long().unbind(-1)
    seen = (depths > 0) & (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    index = row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)
    return index, seen


def _touches_border(silhouettes: Tensor) -> Tensor:
    """Which views [V] show silhouettes that run into the edge of the image."""
    rows, columns = silhouettes[..., [0, -1], :], silhouettes[..., [0, -1]]
    return rows.flatten(1).amax(1).maximum(columns.flatten(1).amax(1)) > 0


def _coverage(hull: Tensor, centers: Tensor, aabb: Tensor, cameras: Cameras, resolution: int) -> Tensor:
    """Silhouettes [V, 1, H, W] of the hull, voxels drawn as squares of about their own size."""
    index, seen = _pixel_indices(centers[hull], cameras)
    drawn = torch.zeros(cameras.num_views, cameras.height * cameras.width, device=centers.device)
    drawn.scatter_reduce_(1, index, seen.float(), "amax")
    _, depths = project_points(aabb.mean(0, keepdim=True), cameras)
    voxel = float((aabb[1] - aabb[0]).max()) / resolution
    radius = int((cameras.Ks[:, 0, 0] * voxel / depths[:, 0].clamp_min(1e-6)).max() / 2) + 1
    drawn = drawn.view(cameras.num_views, 1, cameras.height, cameras.width)
    return F.max_pool2d(drawn, 2 * radius + 1, stride=1, padding=radius) > 0.5
