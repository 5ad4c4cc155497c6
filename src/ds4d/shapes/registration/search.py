"""Coarse search of the pose: all rotations, mirrored or not, rendered as points and compared with the target views."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import tracked
from ds4d.geometry import project_points, uniform_rotations
from ds4d.shapes.registration.match_score import MatchScore, score_match
from ds4d.shapes.registration.poses import Poses, angles_between
from ds4d.shapes.registration.targets import Targets, views_as_times
from ds4d.types import Cameras

_MIN_ROTATIONS = 1000  # every rotation is within 22 degrees of one, where the refinement converges
_MAX_IMAGES = 6000  # rotations times views: few views are more ambiguous, and allow more rotations in the same time
_CHUNK = 250  # poses rendered at a time
_MIN_ANGLE_DEG = 25.0  # between the poses that are kept
_ALPHA_THRESHOLD = 0.2  # low, as a point fills the whole pixel that it touches
_INITIAL_EXTENT = 0.7  # of the image


def search_poses(
    positions: Float[Tensor, "*V N 3"],
    colors: Float[Tensor, "*V N 3"] | None,
    targets: Targets,
    keep: int,
    rotations: Float[Tensor, "R 4"] | None = None,
) -> Poses:
    """The `keep` best poses of the shape, best first, whose rotations differ from one another.

    For each rotation, scale and shift are those at which the centers and spreads of the rendered silhouettes are those
    of the target silhouettes.

    Args:
        positions: a few hundred points of the surface, centered on the origin; each view may have its own.
        colors: RGB of the points in [0, 1], or None to compare silhouettes alone.
        targets: small target views of the surroundings of the origin.
        keep: number of poses.
        rotations: rotations wxyz to choose from, of the shape as it is; by default all, of its mirror image, too.
    """
    handedness = (False, True) if rotations is None else (False,)
    if rotations is None:
        rotations = uniform_rotations(max(_MIN_ROTATIONS, _MAX_IMAGES // targets.cameras.num_views))
    found, errors = [], []
    batches = [(quats, mirrored) for mirrored in handedness for quats in rotations.split(_CHUNK)]
    for quats, mirrored in tracked(batches, "searching the orientation"):
        initial = _initial_poses(quats, mirrored, positions, targets)
        fitted = _fit_silhouettes(initial, positions, targets)
        found.append(fitted)
        errors.append(_score(fitted, positions, colors, targets).error)
    names = ("quats", "mirrored", "scales", "shifts")
    poses = Poses(**{name: torch.cat([getattr(part, name) for part in found]) for name in names})
    return poses.select(_select_distinct(torch.cat(errors), poses.orientations, keep))


def _initial_poses(quats: Tensor, mirrored: bool, positions: Tensor, targets: Targets) -> Poses:
    """The shape at the center of the images, about as large as they are."""
    cameras, views = targets.cameras, positions.shape[:-2]
    centers = torch.zeros(1, *views, 3)
    for _ in range(2):  # the second pass uses the depths of the first
        pixels, depths = _project_centers(centers, cameras)
        centers = centers + _shifts(cameras.width / 2 - pixels, depths, targets, per_view=bool(views))
    units_per_pixel = depths[:, 0] / cameras.Ks[:, [0, 1], [0, 1]].mean(-1)
    extent = (positions.flatten(0, -2).amax(0) - positions.flatten(0, -2).amin(0)).norm()
    scales = _INITIAL_EXTENT * cameras.width * (units_per_pixel if views else units_per_pixel.mean()) / extent
    count = len(quats)
    return Poses(quats, torch.full((count,), mirrored), scales.expand(count, *views), centers.expand(count, *views, 3))


def _project_centers(
    centers: Float[Tensor, "B *V 3"], cameras: Cameras
) -> tuple[Float[Tensor, "V B 2"], Float[Tensor, "V B"]]:
    """Pixels and depths of the centers, each in all views or, if each view has its own, in its view."""
    if centers.ndim == 2:
        return project_points(centers, cameras)
    pixels, depths = project_points(centers.movedim(0, 1), views_as_times(cameras, 1))
    return pixels.squeeze(1), depths.squeeze(1)


def _fit_silhouettes(poses: Poses, positions: Tensor, targets: Targets) -> Poses:
    """Adjusts scales and shifts so that centers and spreads of the silhouettes become those of the targets.

    Areas are not compared: points fill every pixel that a thin limb touches.
    """
    covered = (nearest_points(poses.apply(positions), targets.cameras) < positions.shape[-2]).float()
    centers, spreads = _image_moments(covered)
    true_centers, true_spreads = _image_moments(targets.alphas.flatten(1))
    per_view = positions.ndim == 3
    growth = true_spreads / spreads if per_view else (targets.weights * true_spreads / spreads).sum(-1)
    _, depths = _project_centers(poses.shifts, targets.cameras)
    shifts = _shifts((true_centers - centers).movedim(0, 1), depths, targets, per_view=per_view)
    return replace(poses, scales=growth * poses.scales, shifts=poses.shifts + shifts)


def _image_moments(coverage: Float[Tensor, "*batch P"]) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """First image moment (center) and root of the second central moment (spread) of square images; pixels."""
    side = torch.arange(math.isqrt(coverage.shape[-1])) + 0.5
    pixels = torch.cartesian_prod(side, side).flip(-1)
    fractions = coverage / coverage.sum(-1, keepdim=True).clamp_min(1)
    centers = fractions @ pixels
    squares = fractions @ pixels.square().sum(-1) - centers.square().sum(-1)
    return centers, squares.clamp_min(0.25).sqrt()


def _shifts(
    offsets: Float[Tensor, "V B 2"], depths: Float[Tensor, "V B"], targets: Targets, *, per_view: bool
) -> Float[Tensor, "B *V 3"]:
    """Shifts in space that best explain the offsets in pixels of all views (weak perspective, weighted least squares).

    The distance from a single view is not determined and does not change. With `per_view`, each view has its own shift.
    """
    cameras = targets.cameras
    pixels_per_unit = (cameras.Ks[:, :2, :2] @ cameras.viewmats[:, :2, :3])[:, None] / depths[..., None, None]
    weighted = targets.weights[:, None, None, None] * pixels_per_unit.mT
    system, right = weighted @ pixels_per_unit, weighted @ offsets[..., None]
    if not per_view:
        system, right = system.sum(0), right.sum(0)
    ridge = 1e-4 * system.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(3)
    shifts = torch.linalg.solve(system + ridge, right).squeeze(-1)
    return shifts.movedim(0, 1) if per_view else shifts


def _score(poses: Poses, positions: Tensor, colors: Tensor | None, targets: Targets) -> MatchScore:
    nearest = nearest_points(poses.apply(positions), targets.cameras)
    shown = None if colors is None else _colors_of(nearest, colors)
    return score_match(nearest < positions.shape[-2], shown, targets, alpha_threshold=_ALPHA_THRESHOLD)


def _colors_of(nearest: Int[Tensor, "B V P"], colors: Float[Tensor, "*V N 3"]) -> Float[Tensor, "B V P 3"]:
    """Colors by the index of their point; black for the index N."""
    padded = F.pad(colors, (0, 0, 0, 1))
    if colors.ndim == 2:
        return padded[nearest]
    return padded[torch.arange(len(colors))[:, None], nearest]


def nearest_points(points: Float[Tensor, "B *V N 3"], cameras: Cameras) -> Int[Tensor, "B V P"]:
    """Index of the point that each of the P pixels of a square image shows, row by row; N where there is none."""
    count, views, size = points.shape[-2], cameras.num_views, cameras.width
    if points.ndim == 3:
        pixels, depths = project_points(points, cameras.expand_times(len(points)))
    else:  # each view as a time with one camera
        pixels, depths = project_points(points.flatten(0, 1), views_as_times(cameras, len(points)))
        pixels, depths = pixels.reshape(-1, views, count, 2), depths.reshape(-1, views, count)
    column, row = pixels.floor().clamp(-1, size).long().unbind(-1)
    in_image = (depths > 0) & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    pixel = torch.where(in_image, row * size + column, size * size)  # one more for points outside
    # One number holds depth and index, so that the minimum of a pixel is its nearest point.
    depth_then_point = (depths.clamp(0, 1e4) * 1e6).long() * count + torch.arange(count)
    empty = torch.iinfo(torch.int64).max
    buffer = torch.full((len(points), views, size * size + 1), empty)
    buffer.scatter_reduce_(2, pixel, depth_then_point, "amin")
    shown = buffer[..., :-1]
    return torch.where(shown == empty, count, shown % count)


def _select_distinct(errors: Tensor, orientations: Tensor, keep: int) -> Tensor:
    """Indices of the smallest errors whose orientations differ by `_MIN_ANGLE_DEG` at least; `keep` if there are."""
    errors, rows = errors.clone(), []
    for _ in range(keep):
        best = int(errors.argmin())
        if errors[best] == torch.inf:
            break
        rows.append(best)
        errors[angles_between(orientations, orientations[best]) < _MIN_ANGLE_DEG] = torch.inf
    return torch.tensor(rows)
