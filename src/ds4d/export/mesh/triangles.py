"""Tidying a triangle mesh: crumbs off, steps of the grid smoothed away."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDS = 10
_SHRINK, _SWELL = 0.5, -0.53  # Taubin 1995: the second step undoes the first one's loss of volume


def keep_large_parts(
    vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"], share: float
) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
    """Without the connected parts that have less than `share` of the largest one's vertices."""
    if len(vertices) == 0:
        return vertices, triangles
    part = _parts(len(vertices), triangles)
    sizes = torch.bincount(part, minlength=len(vertices))[part]
    kept = sizes >= share * sizes.max()
    rows = kept.cumsum(0) - 1
    return vertices[kept], rows[triangles[kept[triangles[:, 0]]]]


def smooth(vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"]) -> Float[Tensor, "P 3"]:
    """Vertices moved towards the mean of their neighbors and back, which flattens steps and keeps the volume."""
    for factor in (_SHRINK, _SWELL) * _ROUNDS:
        vertices = vertices + factor * (_neighbor_means(vertices, triangles) - vertices)
    return vertices


def average_neighbors(values: Float[Tensor, "P D"], triangles: Int[Tensor, "F 3"], rounds: int) -> Float[Tensor, "P D"]:
    """What the vertices have, averaged with what their neighbors have, again and again."""
    for _ in range(rounds):
        values = 0.5 * (values + _neighbor_means(values, triangles))
    return values


def _neighbor_means(values: Float[Tensor, "P D"], triangles: Int[Tensor, "F 3"]) -> Float[Tensor, "P D"]:
    ends = triangles[:, [0, 1, 2, 1, 2, 0]].view(-1, 2, 3)
    source, target = ends[:, 0].flatten(), ends[:, 1].flatten()  # every edge comes twice, once each way
    count = torch.bincount(source, minlength=len(values)).clamp_min(1)[:, None]
    return torch.zeros_like(values).index_add_(0, source, values[target]) / count


def _parts(count: int, triangles: Int[Tensor, "F 3"]) -> Int[Tensor, " P"]:
    """The smallest row that each vertex is connected with."""
    part = torch.arange(count)
    while True:
        least = part[triangles].amin(1, keepdim=True).expand(-1, 3)
        spread = part.scatter_reduce(0, triangles.flatten(), least.flatten(), "amin")
        spread = spread[spread]
        if torch.equal(spread, part):
            return part
        part = spread
