"""Alignment of points with true ones, where a result has no camera in common with the truth.

ActionBench's ICP by gradients: from 24 orientations, rotation, translation and a scale along each axis are optimized by
Adam to the symmetric squared Chamfer distance; the best pose of all steps counts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from ds4d.core import Adam

_RATE = 0.01  # of Adam


@dataclass(frozen=True)
class AlignmentConfig:
    """How points are aligned.

    Attributes:
        points: number of points of either side that are aligned; ActionBench takes 10,000.
        steps: number of optimization steps; ActionBench takes 200.
        uniform_scale: one scale, which makes a similarity, instead of ActionBench's scale along each axis.
    """

    points: int = 10_000
    steps: int = 200
    uniform_scale: bool = False


@dataclass(frozen=True)
class Pose:
    """An alignment: x' = (scale * x) @ rotation + shift.

    Attributes:
        scale: factor along each axis of the points.
        rotation: rotation matrix, applied from the right.
        shift: translation, in units of the truth.
        distance: symmetric squared Chamfer distance that it reaches.
    """

    scale: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    shift: Float[np.ndarray, "3"]
    distance: float

    def apply(self, points: Float[np.ndarray, "*T N 3"]) -> Float[np.ndarray, "*T N 3"]:
        """Aligned points."""
        return (self.scale * points) @ self.rotation + self.shift


def align_points(
    points: Float[np.ndarray, "N 3"], truth: Float[np.ndarray, "M 3"], config: AlignmentConfig, *, seed: int = 44
) -> Pose:
    """The pose that aligns points with the truth.

    Args:
        points: points of the result.
        truth: true surface points.
        config: number of points and steps.
        seed: seed of the choice of points where there are more.
    """
    ours, theirs = (torch.from_numpy(_some(each, config.points, seed).astype(np.float32)) for each in (points, truth))
    tree, starts = KDTree(theirs.numpy()), torch.from_numpy(Rotation.create_group("O").as_matrix()).float()
    shifts = torch.zeros(len(starts), 3, requires_grad=True)
    sixes = torch.eye(3)[:2].reshape(1, 6).repeat(len(starts), 1).requires_grad_()
    scales = torch.ones(len(starts), 1 if config.uniform_scale else 3, requires_grad=True)
    optimizer = Adam([shifts, sixes, scales])
    best: Pose | None = None
    for _ in range(config.steps):
        with torch.enable_grad():
            rotations = starts @ _rotations(sixes)
            moved = (scales[:, None] * ours) @ rotations + shifts[:, None]
            distances = torch.stack([_squared_chamfer(each, theirs, tree) for each in moved])
            distances.mean().backward()
        values = distances.tolist()
        least = values.index(min(values))
        if best is None or values[least] < best.distance:
            parts = (scales[least].expand(3), rotations[least], shifts[least])
            best = Pose(*(part.detach().double().numpy().copy() for part in parts), values[least])
        optimizer.step(_RATE)
    assert best is not None, "at least one step"
    return best


def _squared_chamfer(points: Float[Tensor, "N 3"], truth: Float[Tensor, "M 3"], tree: KDTree) -> Float[Tensor, ""]:
    """Mean squared distance to the nearest point, in both directions; the neighbors themselves get no gradient."""
    positions = points.detach().numpy()
    to_truth = torch.from_numpy(tree.query(positions)[1])
    to_points = torch.from_numpy(KDTree(positions).query(truth.numpy())[1])
    forward = (points - truth[to_truth]).square().sum(-1).mean()
    return forward + (points[to_points] - truth).square().sum(-1).mean()


def _rotations(sixes: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """Rotations from their first two rows, not yet orthonormal (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(sixes[:, :3], dim=-1)
    second = sixes[:, 3:] - (first * sixes[:, 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack((first, second, first.cross(second, dim=-1)), dim=1)


def _some(points: Float[np.ndarray, "N 3"], count: int, seed: int) -> Float[np.ndarray, "n 3"]:
    if len(points) <= count:
        return points
    return points[np.random.RandomState(seed).permutation(len(points))[:count]]
