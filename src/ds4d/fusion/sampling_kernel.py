"""Weighted sums of bilinear samples, and their gradients, on the CPU: one pass instead of one per view and channel.

Compiled by numba at the first use and kept on disk; importing this module imports numba. Letters in shapes: B batch,
V maps whose samples are summed, N points, C channels, h w cells. The channels of a cell are adjacent in memory, so that
a sample is four short runs of memory.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, ZERO, kernel


@no_type_check
@kernel()
def sum_samples(first, end, maps, positions, weights, out):
    """Sum over the maps of weight times sample. Items: the B * N points, batch major.

    Args:
        first: first point.
        end: last point + 1.
        maps: [B, V, h, w, C], float32.
        positions: [B, V, N, 2], x and y in [-1, 1] over the map; beyond the centers of the border cells these are read.
        weights: [B, V, N].
        out: [B, N, C], written.
    """
    count = positions.shape[2]
    for b in range(len(maps)):
        begin, stop = max(first - b * count, 0), min(end - b * count, count)
        for n in range(begin, stop):
            out[b, n] = ZERO
        for v in range(maps.shape[1]):  # one after the other: a map stays in the cache
            cells = maps[b, v]
            for n in range(begin, stop):
                for row, column, weight in _corners(positions[b, v, n], cells.shape):
                    weight *= weights[b, v, n]
                    for c in range(cells.shape[2]):
                        out[b, n, c] += weight * cells[row, column, c]


@no_type_check
@kernel()
def sum_samples_backward(first, end, maps, positions, weights, grads, d_maps, d_weights):
    """Gradients of `sum_samples`. Items: the B * V maps, each of which is added to in a fixed order.

    Args:
        first: first map.
        end: last map + 1.
        maps: as given to `sum_samples`.
        positions: as given to `sum_samples`.
        weights: as given to `sum_samples`.
        grads: gradients of `out` [B, N, C].
        d_maps: [B, V, h, w, C], zeros that are added to; [0, V, h, w, C] where they are not needed.
        d_weights: [B, V, N], written; [0, V, N] where they are not needed.
    """
    for item in range(first, end):
        b, v = item // maps.shape[1], item % maps.shape[1]
        cells = maps[b, v]
        for n in range(positions.shape[2]):
            corners = _corners(positions[b, v, n], cells.shape)
            if len(d_weights) > 0:
                total = ZERO
                for c in range(cells.shape[2]):
                    sample = ZERO
                    for row, column, weight in corners:
                        sample += weight * cells[row, column, c]
                    total += sample * grads[b, n, c]
                d_weights[b, v, n] = total
            if len(d_maps) > 0:
                for row, column, weight in corners:
                    weight *= weights[b, v, n]
                    for c in range(cells.shape[2]):
                        d_maps[b, v, row, column, c] += weight * grads[b, n, c]


@no_type_check
@kernel()
def _corners(position, shape):
    """Row, column and bilinear weight of the four cells around a position."""
    top, bottom, y = _neighbors(position[1], shape[0])
    left, right, x = _neighbors(position[0], shape[1])
    return (
        (top, left, (ONE - y) * (ONE - x)),
        (top, right, (ONE - y) * x),
        (bottom, left, y * (ONE - x)),
        (bottom, right, y * x),
    )


@no_type_check
@kernel()
def _neighbors(position, size):
    """The two cells whose centers are next to a position along one axis, and the weight of the second."""
    at = ((position + ONE) * np.float32(size) - ONE) * HALF
    at = min(at, np.float32(size - 1)) if at > ZERO else ZERO  # NaN is not above 0
    low = int(at)
    return low, min(low + 1, size - 1), at - np.float32(low)
