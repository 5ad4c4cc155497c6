"""The visual hull: the largest shape that agrees with all masks, carved from a grid of voxels (space carving).

Grids are [R, R, R] booleans over a box `aabb`, indexed x, y, z; voxel centers are at (i + 0.5) / R of the box.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.geometry.cameras import image_coordinates, project_points
from ds4d.types import Cameras

_VOXELS_AT_ONCE = 1 << 17  # projected into all views at a time: some 60 MB with seven views


@dataclass(frozen=True)
class HullConfig:
    """How the visual hull is carved from the masks.

    Attributes:
        resolution: voxels along each side of the box.
        dilation: dilation of the masks, pixels of an image 256 high, which absorbs small disagreements between views.
        view_tolerance: number of views that may disagree where masks would otherwise remain unexplained.
    """

    resolution: int = 96
    dilation: float = 1.5
    view_tolerance: int = 2

    def __post_init__(self) -> None:
        check_ranges(self, resolution="[2, 512]", dilation="[0, inf)", view_tolerance="[0, inf)")


class VoxelPixels:
    """The pixels that the voxels of a grid project to, kept for carving many frames of the same cameras.

    Args:
        cameras: V cameras without a time axis.
        aabb: box of the grid (min, max), on the device to carve on.
        resolution: voxels along each side of the box; kept are 5 bytes for each of its voxels and each view.
    """

    def __init__(self, cameras: Cameras, aabb: Float[Tensor, "2 3"], resolution: int) -> None:
        count = resolution**3
        self.cameras = cameras
        self._indices = torch.empty(cameras.num_views, count, dtype=torch.int32, device=aabb.device)
        self._in_image = torch.empty(cameras.num_views, count, dtype=torch.bool, device=aabb.device)
        for rows in torch.arange(count, device=aabb.device).split(_VOXELS_AT_ONCE):
            indices, self._in_image[:, rows] = _pixel_indices(voxel_centers(aabb, resolution, rows), cameras)
            self._indices[:, rows] = indices.int()

    def __call__(self, rows: Int[Tensor, " P"]) -> tuple[Int[Tensor, "V P"], Bool[Tensor, "V P"]]:
        """Flat pixel index of some voxels in each view, and whether they are in the image."""
        return self._indices[:, rows].long(), self._in_image[:, rows]


def carve(
    alphas: Float[Tensor, "V 1 H W"],
    cameras: Cameras,
    aabb: Float[Tensor, "2 3"],
    config: HullConfig,
    pixels: VoxelPixels | None = None,
) -> Bool[Tensor, "R R R"]:
    """Voxels that are in all masks, and voxels that are in almost all where masks are not explained otherwise.

    Strict carving comes first. Generated views disagree; tolerating that everywhere would inflate the hull, so it is
    tolerated only for voxels that project to pixels of a mask which no voxel explains yet.

    Args:
        alphas: coverage in [0, 1]; pixels above 0.5 are in the mask.
        cameras: V cameras without a time axis.
        aabb: box to carve in (min, max).
        config: resolution and tolerances.
        pixels: those of these cameras, this box and this resolution, if they are kept; projected anew if None.
    """

    def pixels_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        if pixels is not None:
            return pixels(rows)
        return _pixel_indices(voxel_centers(aabb, config.resolution, rows), cameras)

    radius = round(config.dilation * cameras.height / 256)
    masks = (alphas > 0.5).float()
    dilated = (F.max_pool2d(masks, 2 * radius + 1, stride=1, padding=radius) > 0.5).flatten(1)
    # Outside the image there is no object, unless the image cuts the object off: then the view does not count there.
    cut_off = _touches_border(masks)[:, None]
    count = config.resolution**3
    misses = torch.empty(count, dtype=torch.int16, device=aabb.device)  # views that count and do not see the object
    views = torch.empty_like(misses)  # views that count
    for first in range(0, count, _VOXELS_AT_ONCE):
        rows = torch.arange(first, min(first + _VOXELS_AT_ONCE, count), device=aabb.device)
        indices, in_image = pixels_of(rows)
        inside = dilated.gather(1, indices) & in_image
        counts = in_image | ~cut_off
        misses[rows] = torch.where(inside.any(0), (counts & ~inside).sum(0), cameras.num_views).short()
        views[rows] = counts.sum(0).short()
    hull = misses == 0
    for tolerance in range(1, min(config.view_tolerance, cameras.num_views - 2) + 1):
        unexplained = ((masks > 0.5) & ~_coverage(hull, aabb, cameras, pixels_of)).flatten(1)
        candidates = ((misses <= tolerance) & (views > tolerance) & ~hull).nonzero()[:, 0]
        for rows in candidates.split(_VOXELS_AT_ONCE):
            indices, in_image = pixels_of(rows)
            hull[rows] = (unexplained.gather(1, indices) & dilated.gather(1, indices) & in_image).any(0)
    return hull.view(config.resolution, config.resolution, config.resolution)


def occupied_bounds(hull: Bool[Tensor, "R R R"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "2 3"]:
    """Bounding box (min, max) of the occupied voxels.

    Raises:
        ValueError: no voxel is occupied.
    """
    occupied = hull.nonzero()
    if len(occupied) == 0:
        raise ValueError(
            "the masks must overlap in space, got none that do. Check the masks and the cameras (--rig for a STAG4D "
            "folder)."
        )
    size = (aabb[1] - aabb[0]) / hull.shape[0]
    low, high = occupied.amin(0), occupied.amax(0) + 1
    return torch.stack((aabb[0] + low * size, aabb[0] + high * size))


def surface_voxels(hull: Bool[Tensor, "R R R"]) -> Bool[Tensor, "R R R"]:
    """Occupied voxels with an empty neighbor across a face."""
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
    """`count` points distributed evenly over the surface voxels, at random positions in them.

    Raises:
        ValueError: no voxel is occupied.
    """
    voxels = surface_voxels(hull).nonzero().cpu()
    if len(voxels) == 0:
        raise ValueError("the hull must hold at least one voxel to sample its surface, got an empty one.")
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
    """Colors of points: the weighted mean over the views in which they are visible.

    A point is visible in a view if no other point is more than `tolerance` in front of it, by a depth buffer so coarse
    that the points leave no gaps.

    Args:
        points: positions, world units.
        images: premultiplied colors in [0, 1].
        alphas: coverage in [0, 1].
        cameras: V cameras without a time axis.
        view_weights: weight of each view.
        tolerance: difference in depth, world units.
        unseen: colors in [0, 1] of points that are visible in no view; gray if None.
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


def voxel_centers(
    aabb: Float[Tensor, "2 3"], resolution: int, rows: Int[Tensor, " P"] | None = None
) -> Float[Tensor, "P 3"]:
    """Centers of the voxels with these flat indices, x slowest; of all resolution^3 voxels if None."""
    if rows is None:
        rows = torch.arange(resolution**3, device=aabb.device)
    unit = (torch.arange(resolution, device=aabb.device) + 0.5) / resolution
    indices = torch.stack((rows // resolution**2, rows // resolution % resolution, rows % resolution), dim=-1)
    return aabb[0] + unit[indices] * (aabb[1] - aabb[0])


def _pixel_indices(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Flat pixel index of each point in each view [V, N], and whether the point is in the image."""
    columns, rows, depths = image_coordinates(points, cameras)
    column, row = (each.floor().clamp(-1, 1 << 20).int() for each in (columns, rows))
    in_image = (depths > 0) & (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    index = row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)
    return index.long(), in_image


def _touches_border(masks: Tensor) -> Tensor:
    """Views [V] whose masks touch the border of the image."""
    rows, columns = masks[..., [0, -1], :], masks[..., [0, -1]]
    return rows.flatten(1).amax(1).maximum(columns.flatten(1).amax(1)) > 0


def _coverage(
    hull: Bool[Tensor, " P"], aabb: Tensor, cameras: Cameras, pixels_of: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Bool[Tensor, "V 1 H W"]:
    """Masks of the hull, each voxel splatted as a square of about its size."""
    resolution = round(len(hull) ** (1 / 3))
    covered = torch.zeros(cameras.num_views, cameras.height * cameras.width, device=aabb.device)
    for rows in hull.nonzero()[:, 0].split(_VOXELS_AT_ONCE):
        index, in_image = pixels_of(rows)
        covered.scatter_reduce_(1, index, in_image.float(), "amax")
    _, depths = project_points(aabb.mean(0, keepdim=True), cameras)
    voxel = float((aabb[1] - aabb[0]).max()) / resolution
    radius = int((cameras.Ks[:, 0, 0] * voxel / depths[:, 0].clamp_min(1e-6)).max() / 2) + 1
    covered = covered.view(cameras.num_views, 1, cameras.height, cameras.width)
    return F.max_pool2d(covered, 2 * radius + 1, stride=1, padding=radius) > 0.5
