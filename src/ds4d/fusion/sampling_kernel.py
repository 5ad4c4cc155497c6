"""What the fusion does at each point, on the CPU: one pass instead of one per view and channel.

Points are projected and tested against depth images; samples of the views are summed by weights, or by weights that
scores of the samples decide; the gradients of both sums.

Compiled by numba at the first use and kept on disk; importing this module imports numba. Letters in shapes: B batch,
V maps whose samples are summed, N points, C channels, h w cells. The channels of a cell are adjacent in memory, so that
a sample is four short runs of memory.
"""

import math
from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, TWO, ZERO, kernel

_EPS = np.float32(1e-6)  # of the tensor operations that these kernels replace
_NOTHING = np.float32(1e-7)  # share of a sum of single precision below which a view is not sampled
_OUTSIDE = np.float32(-1e30)  # below every score


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
def see_points(
    first, end, points, viewmats, Ks, width, height, near, depths, tolerance, warps, positions, visible
):  # fmt: skip
    """Where the views show each point, and how far they see it. Items: the B * N points, batch major.

    Args:
        first: first point.
        end: last point + 1.
        points: [B, N, 3], float32.
        viewmats: [B, V, 4, 4].
        Ks: [B, V, 3, 3].
        width: of the images, pixels.
        height: of the images, pixels.
        near: depth at which a point is in front of a camera.
        depths: depth images [B, V, h, w], 0 where nothing is rendered; [B, V, 0, 0] without a depth test.
        tolerance: distance behind the surface at which visibility is 0.5.
        warps: grids [B, V, 2, g, g] of the views' warps; [B, V, 2, 0, 0] where they have none.
        positions: [B, V, N, 2], written: x and y in [-1, 1] over the image.
        visible: [B, V, N], written.
    """
    count = points.shape[1]
    steepness = np.float32(4) / tolerance
    for b in range(len(points)):
        begin, stop = max(first - b * count, 0), min(end - b * count, count)
        for v in range(viewmats.shape[1]):
            m, k = viewmats[b, v], Ks[b, v]
            for n in range(begin, stop):
                px, py, pz = points[b, n, 0], points[b, n, 1], points[b, n, 2]
                depth = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                x, y = TWO, TWO
                if depth > near:
                    inverse = ONE / depth
                    across = (m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]) * inverse
                    down = (m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]) * inverse
                    x = TWO * (k[0, 0] * across + k[0, 1] * down + k[0, 2]) / width - ONE
                    y = TWO * (k[1, 0] * across + k[1, 1] * down + k[1, 2]) / height - ONE
                seen = ONE if (abs(x) <= ONE) & (abs(y) <= ONE) else ZERO
                if seen > ZERO and depths.shape[2] > 0:
                    seen = _test_depth(depths[b, v], x, y, depth, tolerance, steepness)
                visible[b, v, n] = seen
                if warps.shape[3] > 0:
                    x, y = _unwarp(warps[b, v], x, y)
                positions[b, v, n, 0], positions[b, v, n, 1] = x, y


@no_type_check
@kernel()
def _test_depth(depths, x, y, depth, tolerance, steepness):
    """Visibility of a point by the depths that are rendered around its position; 1 where none is."""
    top, bottom, down = _neighbors(y, depths.shape[0])
    left, right, across = _neighbors(x, depths.shape[1])
    a, b, c, d = depths[top, left], depths[top, right], depths[bottom, left], depths[bottom, right]
    wa, wb = (ONE - down) * (ONE - across), (ONE - down) * across
    wc, wd = down * (ONE - across), down * across
    total = wa * a + wb * b + wc * c + wd * d
    weight = (wa if a > ZERO else ZERO) + (wb if b > ZERO else ZERO)
    weight += (wc if c > ZERO else ZERO) + (wd if d > ZERO else ZERO)
    if weight <= _EPS:
        return ONE
    behind = depth - total / max(weight, _EPS)
    return ONE / (ONE + math.exp((behind - tolerance) * steepness))


@no_type_check
@kernel()
def _unwarp(warp, x, y):
    """Where a view whose image is warped shows a position; the outer nodes of the grid are on the image's border."""
    top, bottom, down = _nodes(y, warp.shape[1])
    left, right, across = _nodes(x, warp.shape[2])
    above = (ONE - across) * warp[0, top, left] + across * warp[0, top, right]
    below = (ONE - across) * warp[0, bottom, left] + across * warp[0, bottom, right]
    dx = (ONE - down) * above + down * below
    above = (ONE - across) * warp[1, top, left] + across * warp[1, top, right]
    below = (ONE - across) * warp[1, bottom, left] + across * warp[1, bottom, right]
    return x - dx, y - ((ONE - down) * above + down * below)


@no_type_check
@kernel()
def _nodes(position, size):
    """The two nodes next to a position along one axis, the first at -1 and the last at 1, and the second's weight."""
    at = (position + ONE) * (HALF * np.float32(size - 1))
    at = min(at, np.float32(size - 1)) if at > ZERO else ZERO  # NaN is not above 0
    low = int(at)
    return low, min(low + 1, size - 1), at - np.float32(low)


@no_type_check
@kernel()
def score_maps(first, end, maps, score, scores):
    """The dot product of every cell with `score` [C]. Items: the B * V maps; fills scores [B, V, h, w]."""
    for item in range(first, end):
        b, v = item // maps.shape[1], item % maps.shape[1]
        for row in range(maps.shape[2]):
            for column in range(maps.shape[3]):
                total = ZERO
                for c in range(maps.shape[4]):
                    total += score[c] * maps[b, v, row, column, c]
                scores[b, v, row, column] = total


@no_type_check
@kernel()
def fuse_visible(first, end, maps, scores, positions, visible, bonus, weights, shifts, out):
    """Sum over the maps of weight times sample, for weights that scores decide. Items: the B * N points, batch major.

    A view's weight is proportional to its visibility times exp(score), where the score is sampled as the map is. Views
    of negligible weight, as most of those in which a point is hidden, get 0.

    Args:
        first: first point.
        end: last point + 1.
        maps: as for `sum_samples`.
        scores: [B, V, h, w], of `score_maps`.
        positions: as for `sum_samples`.
        visible: [B, V, N], 0 or more.
        bonus: added to the scores of map 0.
        weights: [B, V, N], written.
        shifts: [B, N], written: the view of the highest score where no view sees the point, so that the weights do not
            sum to 1; -1 elsewhere.
        out: [B, N, C], written.
    """
    count = positions.shape[2]
    for b in range(len(maps)):
        begin, stop = max(first - b * count, 0), min(end - b * count, count)
        for v in range(maps.shape[1]):
            for n in range(begin, stop):
                value = _OUTSIDE
                if visible[b, v, n] > ZERO:
                    value = bonus if v == 0 else ZERO
                    for row, column, weight in _corners(positions[b, v, n], scores.shape[2:]):
                        value += weight * scores[b, v, row, column]
                weights[b, v, n] = value
        for n in range(begin, stop):
            highest, total, view = _OUTSIDE, ZERO, 0
            for v in range(maps.shape[1]):
                if weights[b, v, n] > highest:
                    highest, view = weights[b, v, n], v
            for v in range(maps.shape[1]):
                value = visible[b, v, n]
                if value > ZERO:
                    value *= math.exp(weights[b, v, n] - highest)
                weights[b, v, n] = value
                total += value
            shifts[b, n] = -1 if total > _EPS else view
            inverse = ONE / max(total, _EPS)
            for v in range(maps.shape[1]):
                weights[b, v, n] = weights[b, v, n] * inverse if weights[b, v, n] * inverse > _NOTHING else ZERO
            out[b, n] = ZERO
        for v in range(maps.shape[1]):  # one after the other: a map stays in the cache
            cells = maps[b, v]
            for n in range(begin, stop):
                if weights[b, v, n] > ZERO:
                    for row, column, weight in _corners(positions[b, v, n], cells.shape):
                        weight *= weights[b, v, n]
                        for c in range(cells.shape[2]):
                            out[b, n, c] += weight * cells[row, column, c]


@no_type_check
@kernel()
def fuse_visible_by_scores(first, end, maps, positions, weights, shifts, grads, d_scores):
    """Gradients of the sampled scores. Items: the B * N points, batch major; fills d_scores [B, V, N].

    The other arguments are those of `fuse_visible`, and the gradients of `out` [B, N, C].
    """
    count = positions.shape[2]
    for b in range(len(maps)):
        begin, stop = max(first - b * count, 0), min(end - b * count, count)
        for v in range(maps.shape[1]):
            cells = maps[b, v]
            for n in range(begin, stop):
                total = ZERO
                if weights[b, v, n] > ZERO:
                    for row, column, weight in _corners(positions[b, v, n], cells.shape):
                        product = ZERO
                        for c in range(cells.shape[2]):
                            product += cells[row, column, c] * grads[b, n, c]
                        total += weight * product
                d_scores[b, v, n] = weights[b, v, n] * total
        for n in range(begin, stop):
            total = ZERO
            for v in range(maps.shape[1]):
                total += d_scores[b, v, n]
            if shifts[b, n] >= 0:  # the highest score is subtracted from all
                d_scores[b, shifts[b, n], n] -= total
            else:
                for v in range(maps.shape[1]):
                    d_scores[b, v, n] -= weights[b, v, n] * total


@no_type_check
@kernel()
def fuse_visible_by_maps(first, end, maps, score, positions, weights, grads, d_scores, d_maps, d_score):
    """Gradients of the maps and of `score`. Items: the B * V maps, each of which is added to in a fixed order.

    Fills d_maps [B, V, h, w, C], which is 0 before, and each map's part of those of `score`, d_score [B, V, C]. The
    other arguments are those of `score_maps` and `fuse_visible_by_scores`.
    """
    by_cells = np.empty(maps.shape[2:4], np.float32)
    for item in range(first, end):
        b, v = item // maps.shape[1], item % maps.shape[1]
        by_cells[:] = ZERO
        for n in range(positions.shape[2]):
            if weights[b, v, n] > ZERO:
                for row, column, weight in _corners(positions[b, v, n], by_cells.shape):
                    by_cells[row, column] += weight * d_scores[b, v, n]
                    weight *= weights[b, v, n]
                    for c in range(maps.shape[4]):
                        d_maps[b, v, row, column, c] += weight * grads[b, n, c]
        d_score[b, v] = ZERO
        for row in range(maps.shape[2]):
            for column in range(maps.shape[3]):
                for c in range(maps.shape[4]):
                    d_maps[b, v, row, column, c] += by_cells[row, column] * score[c]
                    d_score[b, v, c] += by_cells[row, column] * maps[b, v, row, column, c]


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
