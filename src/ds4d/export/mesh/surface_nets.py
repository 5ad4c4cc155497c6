"""The zero level set of a grid as a triangle mesh, by surface nets (Gibson 1998).

Every cell of eight grid points that the surface crosses gets one vertex, the mean of its crossings with the edges of
the cell, and every edge that it crosses gets one quadrilateral between the four cells around it. Triangles are well
shaped and the surface is closed: everything beyond the grid is outside.
"""

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def extract_surface(values: Float[Tensor, "R R R"]) -> tuple[Float[Tensor, "P 3"], Int[Tensor, "T 3"]]:
    """Vertices and triangles of the surface where `values` change sign.

    Args:
        values: values on the grid, negative inside, indexed x, y, z.

    Returns:
        Vertices in grid units (grid point i, j, k is at (i, j, k)), and the vertex indices of each triangle,
        counter-clockwise seen from outside. Both are empty if nothing is inside.
    """
    outside = F.pad(values, (1, 1, 1, 1, 1, 1), value=float(values.abs().max()) + 1e-6)
    vertices, rows = _cell_vertices(outside)
    quads = [_quads_of_axis(outside, rows, axis) for axis in range(3)]
    triangles = torch.cat([quad[:, corners] for quad in quads for corners in ([0, 1, 2], [0, 2, 3])])
    return vertices - 1, triangles  # without the border


def _cell_vertices(values: Float[Tensor, "S S S"]) -> tuple[Float[Tensor, "P 3"], Int[Tensor, "s s s"]]:
    """One vertex per cell that the surface crosses, and the index of each cell's vertex (-1 without)."""
    corners = {offset: _shifted(values, offset) for offset in product((0, 1), repeat=3)}
    inside = torch.stack([corner < 0 for corner in corners.values()])
    cut = inside.any(0) & ~inside.all(0)
    cells = cut.nonzero()
    total, count = torch.zeros(len(cells), 3), torch.zeros(len(cells), 1)
    for start, axis in ((start, axis) for start in corners for axis in range(3) if start[axis] == 0):
        end = tuple(1 if i == axis else c for i, c in enumerate(start))
        low, high = corners[start][cut], corners[end][cut]
        crossed = ((low < 0) != (high < 0))[:, None]
        fraction = low / torch.where(low == high, 1.0, low - high)
        point = torch.tensor(start).float().repeat(len(cells), 1)
        point[:, axis] = fraction
        total += point * crossed
        count += crossed
    rows = torch.full(cut.shape, -1)
    rows[cut] = torch.arange(len(cells))
    return cells + total / count.clamp_min(1), rows


def _quads_of_axis(values: Float[Tensor, "S S S"], rows: Int[Tensor, "s s s"], axis: int) -> Int[Tensor, "Q 4"]:
    """The quadrilaterals across the crossed edges along one axis."""
    across, up = (axis + 1) % 3, (axis + 2) % 3
    low, high = (values.narrow(axis, first, values.shape[axis] - 1) for first in (0, 1))
    cut = (low < 0) != (high < 0)
    edges = cut.nonzero()  # never at the border, where everything is outside
    around = []
    for a, u in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
        cell = edges.clone()
        cell[:, across] += a
        cell[:, up] += u
        around.append(rows[tuple(cell.T)])
    quads = torch.stack(around, dim=1)
    leaves = (low[cut] < 0)[:, None]  # such an edge runs outwards, along the normal of its quadrilateral
    return torch.where(leaves, quads, quads.flip(1))


def _shifted(values: Tensor, offset: tuple[int, ...]) -> Tensor:
    """The values at one corner of every cell."""
    return values[tuple(slice(o, values.shape[i] - 1 + o) for i, o in enumerate(offset))]
