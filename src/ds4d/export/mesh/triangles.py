"""Operations on triangle meshes: small components removed, vertices smoothed, normals."""

from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

_TAUBIN_STEPS = 20
_SHRINK, _INFLATE = 0.5, 0.53  # Taubin 1995: every second step undoes the loss of volume of the step before


def keep_large_components(
    vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"], fraction: float
) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
    """The mesh without the connected components that have less than `fraction` of the largest one's vertices."""
    if len(vertices) == 0:
        return vertices, triangles
    _, labels = connected_components(_neighbor_counts(triangles, len(vertices)), directed=False)
    sizes = np.bincount(labels)
    kept = torch.from_numpy((sizes >= fraction * sizes.max())[labels])
    rows = kept.cumsum(0) - 1
    return vertices[kept], rows[triangles[kept[triangles[:, 0]]]]


def smooth(vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"]) -> Float[Tensor, "P 3"]:
    """Vertices smoothed by Taubin's filter, which removes the steps of the grid and keeps the volume."""
    from trimesh import Trimesh
    from trimesh.smoothing import filter_taubin

    mesh = Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    means = _neighbor_means(triangles, len(vertices))
    filter_taubin(mesh, lamb=_SHRINK, nu=_INFLATE, iterations=_TAUBIN_STEPS, laplacian_operator=means)
    return torch.from_numpy(np.asarray(mesh.vertices, np.float32))


def average_neighbors(values: Float[Tensor, "P D"], triangles: Int[Tensor, "F 3"], rounds: int) -> Float[Tensor, "P D"]:
    """Values of the vertices averaged `rounds` times with the mean over their neighbors."""
    means, averaged = _neighbor_means(triangles, len(values)), values.numpy()
    for _ in range(rounds):
        averaged = 0.5 * (averaged + means @ averaged)
    return torch.from_numpy(averaged)


def vertex_normals(vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"]) -> Float[Tensor, "P 3"]:
    """Unit normals that point outwards: the mean over the triangles at each vertex, weighted by their angle there."""
    from trimesh import Trimesh

    mesh = Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    return torch.from_numpy(mesh.vertex_normals.astype(np.float32))


def _neighbor_counts(triangles: Int[Tensor, "F 3"], count: int) -> csr_array:
    """How many triangles each pair of vertices shares as an edge, [P, P]."""
    ends = triangles[:, [0, 1, 1, 2, 2, 0]].view(-1, 2).numpy()
    both = np.concatenate((ends, ends[:, ::-1]))
    return coo_array((np.ones(len(both), np.float32), (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()


def _neighbor_means(triangles: Int[Tensor, "F 3"], count: int) -> csr_array:
    """The matrix whose product with the values of the vertices is the mean over the neighbors of each, [P, P]."""
    counts = _neighbor_counts(triangles, count)
    totals = np.maximum(counts.sum(1), 1)
    return cast(csr_array, counts.multiply(1 / totals[:, None]).tocsr())
