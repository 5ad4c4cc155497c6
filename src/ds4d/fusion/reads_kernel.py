"""Weighted sums of bilinear reads, and their gradients, on the CPU: views times channels of passes become one.

Compiled by numba at the first use and kept on disk; importing this module imports numba. Letters in shapes: B batch,
V maps whose reads are summed, N places, C channels, h w cells. The channels of a cell lie side by side, so that a read
is four short runs of memory.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, ZERO, kernel


@no_type_check
@kernel()
def weigh_reads(first, end, maps, places, weights, out):
    """Sum over the maps of weight times read. Items: the B * N places, batch major.

    Args:
        first: place to begin with.
        end: place to end before.
        maps: [B, V, h, w, C], float32.
        places: [B, V, N, 2], x and y in half maps from the middle; beyond the outer cells' centers these are read.
        weights: [B, V, N].
        out: [B, N, C], written.
    """
    count = places.shape[2]
    for b in range(len(maps)):
        begin, stop = max(first - b * count, 0), min(end - b * count, count)
        for n in range(begin, stop):
            out[b, n] = ZERO
        for v in range(maps.shape[1]):  # one after the other: a map stays in the cache
            cells = maps[b, v]
            for n in range(begin, stop):
                for row, column, share in _corners(places[b, v, n], cells.shape):
                    share *= weights[b, v, n]
                    for c in range(cells.shape[2]):
                        out[b, n, c] += share * cells[row, column, c]


@no_type_check
@kernel()
def weigh_reads_backward(first, end, maps, places, weights, grads, d_maps, d_weights):
    """Gradients of `weigh_reads` where there is room for them. Items: the B * V maps, as each is added to in order.

    Args:
        first: map to begin with.
        end: map to end before.
        maps: as given to `weigh_reads`.
        places: likewise.
        weights: likewise.
        grads: gradients of `out` [B, N, C].
        d_maps: [B, V, h, w, C], zeros that are added to, or, where nobody asks, [0, V, h, w, C].
        d_weights: [B, V, N] or [0, V, N]; written.
    """
    for item in range(first, end):
        b, v = item // maps.shape[1], item % maps.shape[1]
        cells = maps[b, v]
        for n in range(places.shape[2]):
            corners = _corners(places[b, v, n], cells.shape)
            if len(d_weights) > 0:
                total = ZERO
                for c in range(cells.shape[2]):
                    read = ZERO
                    for row, column, share in corners:
                        read += share * cells[row, column, c]
                    total += read * grads[b, n, c]
                d_weights[b, v, n] = total
            if len(d_maps) > 0:
                for row, column, share in corners:
                    share *= weights[b, v, n]
                    for c in range(cells.shape[2]):
                        d_maps[b, v, row, column, c] += share * grads[b, n, c]


@no_type_check
@kernel()
def _corners(place, shape):
    """Row, column and share of the four cells round a place."""
    top, bottom, y = _neighbors(place[1], shape[0])
    left, right, x = _neighbors(place[0], shape[1])
    return (
        (top, left, (ONE - y) * (ONE - x)),
        (top, right, (ONE - y) * x),
        (bottom, left, y * (ONE - x)),
        (bottom, right, y * x),
    )


@no_type_check
@kernel()
def _neighbors(place, size):
    """The two cells whose centers lie on both sides of a place along one axis, and the share of the second."""
    at = ((place + ONE) * np.float32(size) - ONE) * HALF
    at = min(at, np.float32(size - 1)) if at > ZERO else ZERO  # NaN is not above 0
    low = int(at)
    return low, min(low + 1, size - 1), at - np.float32(low)
