"""Skinning: vertices that follow the Gaussians near them."""

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from ds4d.core import tracked
from ds4d.export.mesh.triangles import average_neighbors
from ds4d.scene import Scene
from ds4d.types import RawGaussians

_NEIGHBORS = 16  # Gaussians that move a vertex
_WEISZFELD_STEPS, _MIN_DISTANCE = 10, 1e-3  # normalized units; nearer paths have the same weight
_SMOOTHING_ROUNDS = 4  # of averaging the path of a vertex with those of its neighbors
_VERTICES_AT_ONCE = 1024


def deform_vertices(
    vertices: Float[Tensor, "P 3"],
    triangles: Int[Tensor, "F 3"],
    rest: RawGaussians,
    scene: Scene,
    times: Float[Tensor, " T"],
) -> Float[Tensor, "T P 3"]:
    """The vertices at each time: each follows the weighted geometric median of the paths of its Gaussians.

    Gaussians swap their roles now and then, and a single one that leaves must not tear the surface; hence the median of
    whole paths, averaged with those of the neighboring vertices.

    Args:
        vertices: vertices of the rest pose, normalized units.
        triangles: vertex indices of each triangle.
        rest: Gaussians of the rest pose.
        scene: the scene that moves.
        times: times of the result, in [0, 1].
    """
    neighbors, weights = skinning_weights(vertices, rest)
    steps = tracked(times.to(scene.device).split(1), "moving the mesh")
    moves = torch.stack([scene.raw_at(time).means[0].cpu() - rest.means for time in steps])
    paths = [
        _median_paths(moves[:, neighbors[rows]].movedim(0, 2).flatten(2), weights[rows])
        for rows in tracked(torch.arange(len(vertices)).split(_VERTICES_AT_ONCE), "smoothing the paths")
    ]
    smooth_paths = average_neighbors(torch.cat(paths), triangles, _SMOOTHING_ROUNDS)
    return vertices + smooth_paths.unflatten(1, (-1, 3)).movedim(1, 0)


def skinning_weights(
    vertices: Float[Tensor, "P 3"], gaussians: RawGaussians
) -> tuple[Int[Tensor, "P K"], Float[Tensor, "P K"]]:
    """The K nearest Gaussians of each vertex and their weights, which fall with distance and grow with opacity."""
    count = min(_NEIGHBORS, gaussians.num_gaussians)
    distances, indices = KDTree(gaussians.means.numpy()).query(vertices.numpy(), k=range(1, count + 1))
    distances, indices = torch.from_numpy(distances).float(), torch.from_numpy(indices)
    spread = distances.mean(1, keepdim=True).clamp_min(1e-6)
    opacities = gaussians.opacity_logits.sigmoid()[indices]
    weights = torch.exp(-0.5 * (distances / spread).square()) * opacities + 1e-8
    return indices, weights / weights.sum(1, keepdim=True)


def _median_paths(paths: Float[Tensor, "P K D"], weights: Float[Tensor, "P K"]) -> Float[Tensor, "P D"]:
    """The weighted geometric median of each vertex's paths, by Weiszfeld's iteration."""
    current = weights
    for _ in range(_WEISZFELD_STEPS):
        median = (paths * current[..., None]).sum(1) / current.sum(1, keepdim=True)
        current = weights / (paths - median[:, None]).norm(dim=-1).clamp_min(_MIN_DISTANCE)
    return median
