"""Tidying a triangle mesh: crumbs off, steps of the grid smoothed away."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROUNDS = 10
_SHRINK, _SWELL = 0.5, -0.53  # Taubin 1995: the second step undoes the first one's loss of volume


def keep_large_parts(
    vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "T 3"], share: float
) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "t 3"]]:
    """Without the connected parts that have less than `share` of the largest one's vertices."""
    if len(vertices) == 0:
        return vertices, triangles
    part = _parts(len(vertices), triangles)
    sizes = torch.bincount(part, minlength=len(vertices))[part]
    kept = sizes >= share * sizes.max()
    rows = kept.cumsum(0) - 1
    return vertices[kept], rows[triangles[kept[triangles[:, 0]]]]


def smooth(vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "T 3"]) -> Float[Tensor, "P 3"]:
    """Vertices moved towards the mean of their neighbours and back, which flattens steps and keeps the volume."""
    ends = triangles[:, [0, 1, 2, 1, 2, 0]].view(-1, 2, 3)
    source, target = ends[:, 0].flatten(), ends[:, 1].flatten()  # every edge comes twice, once each way
    count = torch.bincount(source, minlength=len(vertices)).clamp_min(1)[:, None]
    for factor in (_SHRINK, _SWELL) * _ROUNDS:
        mean = torch.zeros_like(vertices).index_add_(0, source, vertices[target]) / count
        vertices = vertices + factor * (mean - vertices)
    return vertices


def _parts(count: int, triangles: Int[Tensor, "T 3"]) -> Int[Tensor, " P"]:
    """The smallest row that each vertex is connected with."""
    part = torch.arange(count)
    while True:
        least = part[triangles].amin(1, keepdim=True).expand(-1, 3)
        spread = part.scatter_reduce(0, triangles.flatten(), least.flatten(), "amin")
        spread = spread[spread]
        if torch.equal(spread, part):
            return part
        part = spread
