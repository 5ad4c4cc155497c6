"""Points on the surface of the synthetic creature, tracked over time."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.data.synthetic.anatomy import pose_parts
from ds4d.data.synthetic.creature import JOINTS, PARTS


def surface_points(times: Float[Tensor, " T"], count: int, seed: int) -> Float[Tensor, "T N 3"]:
    """World positions over time of points sampled uniformly on the surface.

    The points are on the visible surface at time 0; they depend on the seed and not on the times.

    Args:
        times: times in [0, 1].
        count: number of points N.
        seed: random seed.
    """
    owners, on_sphere = _choose(count, np.random.default_rng(seed))
    shapes = np.stack([pose_parts(PARTS, JOINTS, time)[owners] for time in times.tolist()])
    points = np.einsum("tnij,nj->tni", shapes[..., :3, :3], on_sphere) + shapes[..., :3, 3]
    return torch.from_numpy(points).float()


def _choose(count: int, rng: np.random.Generator) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """Parts and positions on their unit spheres, sampled by area from equally many candidates on each part."""
    shapes = pose_parts(PARTS, JOINTS, 0.0)
    owners = np.repeat(np.arange(len(PARTS)), count)
    on_sphere = rng.normal(size=(len(owners), 3))
    on_sphere /= np.linalg.norm(on_sphere, axis=-1, keepdims=True)
    linear, centers = shapes[:, :3, :3], shapes[:, :3, 3]
    inverses = np.linalg.inv(linear)
    points = np.einsum("nij,nj->ni", linear[owners], on_sphere) + centers[owners]
    # An affine map scales the area of the sphere at u by |det A| |A^-T u|.
    areas = np.abs(np.linalg.det(linear))[owners] * np.linalg.norm(
        np.einsum("nji,nj->ni", inverses[owners], on_sphere), axis=-1
    )
    areas[_covered(points, owners, linear, centers)] = 0
    chosen = rng.choice(len(owners), size=count, replace=False, p=areas / areas.sum())
    return owners[chosen], on_sphere[chosen]


def _covered(
    points: Float[np.ndarray, "N 3"],
    owners: Int[np.ndarray, " N"],
    linear: Float[np.ndarray, "P 3 3"],
    centers: Float[np.ndarray, "P 3"],
) -> Bool[np.ndarray, " N"]:
    """Whether each point is inside another part."""
    covered = np.zeros(len(points), bool)
    radii = np.linalg.norm(linear, ord=2, axis=(1, 2))
    for part, (inverse, center) in enumerate(zip(np.linalg.inv(linear), centers, strict=True)):
        can_meet = np.linalg.norm(centers - center, axis=-1) < 1.01 * (radii + radii[part])
        can_meet[part] = False
        rows = np.flatnonzero(can_meet[owners] & ~covered)
        covered[rows] = np.square((points[rows] - center) @ inverse.T).sum(-1) < 1
    return covered
