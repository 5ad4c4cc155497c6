"""Registration of a surface to the Gaussians of a run: iterative closest points (Besl and McKay 1992) with scale.

Both are upright, so the search starts from turns about the vertical axis. Nearest points are sought in both directions,
so that neither shape shrinks into the other, and the farthest tenth is left out: the shapes are alike, not the same.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from ds4d.core import tracked
from ds4d.geometry import transform_points
from ds4d.types import Similarity

_YAWS = tuple(45.0 * step for step in range(8))
_TURN_COST = 0.1  # a half turn must fit better by this fraction: most files face the front, as the run does
_COARSE_POINTS, _COARSE_STEPS = 500, 6
_FINE_POINTS, _FINE_STEPS, _FINALISTS = 3000, 40, 3
_KEPT = 0.9


@dataclass(frozen=True)
class Alignment:
    """How a surface lies on the object of a run.

    Attributes:
        similarity: from the space of the surface to normalized space.
        yaw_deg: the turn about the vertical axis from which it was found, degrees.
        time: time of the pose on which it lies.
        distance: median distance between the two surfaces, as a fraction of the object's diameter.
    """

    similarity: Similarity
    yaw_deg: float
    time: float
    distance: float


def align_surface(
    surface: Float[Tensor, "P 3"],
    poses: Sequence[Float[Tensor, "_ 3"]],
    times: Sequence[float],
    yaw_deg: float | None = None,
) -> Alignment:
    """The best alignment of a surface with any of several poses of an object.

    Args:
        surface: points on the surface, +y up, evenly spread and in random order.
        poses: points on the object in each pose, normalized space, in random order.
        times: time of each pose.
        yaw_deg: turn of the surface about +y, degrees; None tries eight.
    """
    yaws = _YAWS if yaw_deg is None else (yaw_deg,)
    starts = [
        (
            index,
            yaw,
            _refine(surface[:_COARSE_POINTS], pose[:_COARSE_POINTS], _start(surface, pose, yaw), _COARSE_STEPS),
        )
        for (index, pose), yaw in tracked(list(itertools.product(enumerate(poses), yaws)), "comparing poses")
    ]
    starts.sort(key=lambda start: _cost(surface[:_COARSE_POINTS], poses[start[0]][:_COARSE_POINTS], start[2], start[1]))
    results = []
    for index, yaw, start in starts[:_FINALISTS]:
        pose = poses[index][:_FINE_POINTS]
        fitted = _refine(surface[:_FINE_POINTS], pose, start, _FINE_STEPS)
        results.append((_cost(surface[:_FINE_POINTS], pose, fitted, yaw), index, yaw, fitted))
    _, index, yaw, fitted = min(results, key=lambda result: result[0])
    ahead, back, _, _ = _matches(transform_points(fitted, surface[:_FINE_POINTS]), poses[index][:_FINE_POINTS])
    distance = float(np.median(np.concatenate((ahead, back)))) / _diameter(poses[index])
    return Alignment(fitted, yaw, times[index], distance)


def _start(surface: Float[Tensor, "P 3"], pose: Float[Tensor, "Q 3"], yaw_deg: float) -> Similarity:
    """Centers and sizes made equal, after a turn about +y."""
    angle = torch.deg2rad(torch.tensor(yaw_deg))
    cosine, sine = float(angle.cos()), float(angle.sin())
    rotation = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    source, target = surface.mean(0), pose.mean(0)
    scale = float((pose - target).square().sum(1).mean().sqrt() / (surface - source).square().sum(1).mean().sqrt())
    return Similarity(scale, rotation, target - scale * rotation @ source)


def _refine(
    surface: Float[Tensor, "P 3"], pose: Float[Tensor, "Q 3"], similarity: Similarity, steps: int
) -> Similarity:
    for _ in range(steps):
        moved = transform_points(similarity, surface)
        ahead, back, nearest, sources = _matches(moved, pose)
        source = torch.cat((surface, surface[sources]))
        target = torch.cat((pose[nearest], pose))
        distances = np.concatenate((ahead, back))
        kept = torch.from_numpy(distances <= np.quantile(distances, _KEPT))
        similarity = _fit(source[kept], target[kept])
    return similarity


def _matches(moved: Float[Tensor, "P 3"], pose: Float[Tensor, "Q 3"]) -> tuple[np.ndarray, np.ndarray, Tensor, Tensor]:
    """Distances of the surface's points to the pose and back, and the indices of the nearest points."""
    ahead, nearest = KDTree(pose.numpy()).query(moved.numpy())
    back, sources = KDTree(moved.numpy()).query(pose.numpy())
    return ahead, back, torch.from_numpy(nearest), torch.from_numpy(sources)


def _fit(source: Float[Tensor, "P 3"], target: Float[Tensor, "P 3"]) -> Similarity:
    """The similarity that maps points to points with the least squared error (Umeyama 1991)."""
    a, b = source.double(), target.double()
    centered, aimed = a - a.mean(0), b - b.mean(0)
    u, values, vt = torch.linalg.svd(aimed.T @ centered)
    signs = torch.ones(3, dtype=torch.float64)
    signs[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = u @ torch.diag(signs) @ vt
    scale = float((values * signs).sum() / centered.square().sum().clamp_min(1e-12))
    shift = b.mean(0) - scale * rotation @ a.mean(0)
    return replace(Similarity.identity(), scale=scale, rotation=rotation.float(), translation=shift.float())


def _cost(surface: Float[Tensor, "P 3"], pose: Float[Tensor, "Q 3"], similarity: Similarity, yaw_deg: float) -> float:
    """Mean distance of both surfaces, larger for larger turns."""
    ahead, back, _, _ = _matches(transform_points(similarity, surface), pose)
    turn = abs((yaw_deg + 180) % 360 - 180) / 180
    return float(ahead.mean() + back.mean()) * (1 + _TURN_COST * turn)


def _diameter(pose: Float[Tensor, "Q 3"]) -> float:
    return 2 * float((pose - pose.mean(0)).norm(dim=1).quantile(0.99))
