"""The coarse search: a shape in every rotation, mirrored or not, drawn as points and held against the views."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import tracked
from ds4d.geometry import project_points, uniform_rotations
from ds4d.init.registration.poses import Poses, angles_between
from ds4d.init.registration.similarity import Likeness, compare
from ds4d.init.registration.targets import Targets
from ds4d.types import Cameras

_FEWEST_ROTATIONS = 1000  # any rotation has one of them within 22 degrees, from where the fine search finds the way
_IMAGES = 6000  # of all rotations and views: a view or two mistake more, and draw more as fast
_CHUNK = 250  # poses drawn at once
_APART_DEG = 25.0  # less is the same way of standing
_TOUCHED = 0.2  # coverage; a point fills its whole pixel, so that one counts as drawn when the shape touches it
_FILLED = 0.7  # part of a window that the first drawing fills


def search_poses(
    positions: Float[Tensor, "N 3"], colors: Float[Tensor, "N 3"] | None, targets: Targets, keep: int
) -> Poses:
    """The `keep` best ways in which the shape may stand, all unlike each other, best first.

    Scale and shift follow from each rotation: the drawn silhouettes get the area and the centers of the true ones.

    Args:
        positions: a few hundred points of the surface, centered on the origin.
        colors: of the points, in [0, 1]; without them the silhouettes decide alone.
        targets: small windows; the cameras look at the origin's surroundings.
        keep: how many.
    """
    rotations = uniform_rotations(max(_FEWEST_ROTATIONS, _IMAGES // targets.cameras.num_views))
    found, errors = [], []
    ways = [(quats, mirrored) for mirrored in (False, True) for quats in rotations.split(_CHUNK)]
    for quats, mirrored in tracked(ways, "turning the shape"):
        rough = _first_guess(quats, mirrored, positions, targets)
        fitted = _fit_silhouettes(rough, positions, targets)
        found.append(fitted)
        errors.append(_likeness(fitted, positions, colors, targets).error)
    names = ("quats", "mirrored", "scales", "shifts")
    poses = Poses(**{name: torch.cat([getattr(part, name) for part in found]) for name in names})
    return poses.select(_best_apart(torch.cat(errors), poses.turns, keep))


def _first_guess(quats: Tensor, mirrored: bool, positions: Tensor, targets: Targets) -> Poses:
    """The shape in the middle of the windows, about as large as they are."""
    cameras, center = targets.cameras, torch.zeros(1, 3)
    for _ in range(2):  # the second time with the true depths
        pixels, depths = project_points(center, cameras)
        center = center + _shifts(cameras.width / 2 - pixels, depths, targets)
    units_per_pixel = depths[:, 0] / cameras.Ks[:, [0, 1], [0, 1]].mean(-1)
    extent = (positions.amax(0) - positions.amin(0)).norm()
    scale = _FILLED * cameras.width * float(units_per_pixel.mean() / extent)
    count = len(quats)
    return Poses(quats, torch.full((count,), mirrored), torch.full((count,), scale), center.expand(count, 3))


def _fit_silhouettes(poses: Poses, positions: Tensor, targets: Targets) -> Poses:
    """Scales and shifts with which drawn silhouettes get the true ones' centers and spread round them.

    Not their area: points fill every pixel that a thin limb touches.
    """
    drawn = (nearest_points(poses.apply(positions), targets.cameras) < len(positions)).float()
    centers, spreads = _moments(drawn)
    true_centers, true_spreads = _moments(targets.alphas.flatten(1))
    growth = (targets.weights * true_spreads / spreads).sum(-1)
    _, depths = project_points(poses.shifts, targets.cameras)
    moved = _shifts((true_centers - centers).movedim(0, 1), depths, targets)
    return replace(poses, scales=growth * poses.scales, shifts=poses.shifts + moved)


def _moments(coverage: Float[Tensor, "*batch P"]) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Center of a square image's coverage, and the root mean squared distance from it; pixels."""
    side = torch.arange(math.isqrt(coverage.shape[-1])) + 0.5
    places = torch.cartesian_prod(side, side).flip(-1)
    fractions = coverage / coverage.sum(-1, keepdim=True).clamp_min(1)
    centers = fractions @ places
    squares = fractions @ places.square().sum(-1) - centers.square().sum(-1)
    return centers, squares.clamp_min(0.25).sqrt()


def _shifts(offsets: Float[Tensor, "V B 2"], depths: Float[Tensor, "V B"], targets: Targets) -> Float[Tensor, "B 3"]:
    """The shifts in space that come nearest to the offsets in pixels in all views (weak perspective, least squares).

    What no view shows, the distance from a single one, stays as it is.
    """
    cameras = targets.cameras
    pixels_per_unit = (cameras.Ks[:, :2, :2] @ cameras.viewmats[:, :2, :3])[:, None] / depths[..., None, None]
    weighted = targets.weights[:, None, None, None] * pixels_per_unit.mT
    system = (weighted @ pixels_per_unit).sum(0)
    ridge = 1e-4 * system.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * torch.eye(3)
    return torch.linalg.solve(system + ridge, (weighted @ offsets[..., None]).sum(0)).squeeze(-1)


def _likeness(poses: Poses, positions: Tensor, colors: Tensor | None, targets: Targets) -> Likeness:
    nearest = nearest_points(poses.apply(positions), targets.cameras)
    shown = None if colors is None else torch.cat((colors, colors.new_zeros(1, 3)))[nearest]
    return compare(nearest < len(positions), shown, targets, covered_above=_TOUCHED)


def nearest_points(points: Float[Tensor, "B N 3"], cameras: Cameras) -> Int[Tensor, "B V P"]:
    """Which point each of the P pixels of a square image shows, row by row; N where none."""
    count, views, size = points.shape[1], cameras.num_views, cameras.width
    pixels, depths = project_points(points, cameras.expand_times(len(points)))
    column, row = pixels.floor().clamp(-1, size).long().unbind(-1)
    seen = (depths > 0) & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    pixel = torch.where(seen, row * size + column, size * size)  # one more for what lies outside
    # One number holds depth and point, so that the smallest of a pixel is its nearest point.
    depth_then_point = (depths.clamp(0, 1e4) * 1e6).long() * count + torch.arange(count)
    nothing = torch.iinfo(torch.int64).max
    buffer = torch.full((len(points), views, size * size + 1), nothing)
    buffer.scatter_reduce_(2, pixel, depth_then_point, "amin")
    shown = buffer[..., :-1]
    return torch.where(shown == nothing, count, shown % count)


def _best_apart(errors: Tensor, turns: Tensor, keep: int) -> Tensor:
    """Rows of the smallest errors, no two of which turn alike."""
    errors, rows = errors.clone(), []
    for _ in range(keep):
        best = int(errors.argmin())
        rows.append(best)
        errors[angles_between(turns, turns[best]) < _APART_DEG] = torch.inf
    return torch.tensor(rows)
