"""Reads of the HexPlane and their gradients on the CPU, each in one pass over the points in place of dozens.

Compiled by numba at the first use and cached on disk; importing this module imports numba. The channels of a cell lie
side by side. Letters in shapes: T time, N points, S scales, C channels, R cells along an axis of a scale's planes.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, ZERO, kernel


@no_type_check
@kernel()
def read_at_points(first, end, unit, scales, planes, lines, features):
    """Products of the six reads of each point, at each time and scale. Items: points.

    Args:
        first: point to begin with.
        end: point to end before.
        unit: points [N, 3], the box from -1 to 1; float32.
        scales: integers [S, 3]: R, the scale's first row in `planes`, and its first in `lines`.
        planes: rows [_, C]; a scale's are [3, R, R], its xy, xz and yz planes, the second axis before the first.
        lines: rows [_, C]; a scale's are [T, 3, R], what its xt, yt and zt planes hold at each time.
        features: [T, N, S C], written.
    """
    channels = planes.shape[1]
    for n in range(first, end):
        for s in range(len(scales)):
            size, plane, line = scales[s, 0], scales[s, 1], scales[s, 2]
            x, y, z = _locate(unit[n, 0], size), _locate(unit[n, 1], size), _locate(unit[n, 2], size)
            xy, xz, yz = _first_cells(plane, size, x, y, z)
            for c in range(channels):
                space = _read_plane(planes, xy, size, c, x, y) * _read_plane(planes, xz, size, c, x, z)
                space *= _read_plane(planes, yz, size, c, y, z)
                for t in range(len(features)):
                    row = line + 3 * t * size
                    moved = _read_line(lines, row, c, x) * _read_line(lines, row + size, c, y)
                    features[t, n, s * channels + c] = space * moved * _read_line(lines, row + 2 * size, c, z)


@no_type_check
@kernel()
def accumulate_gradients(first, end, unit, scales, planes, lines, grads, by_planes, by_lines, by_unit):
    """Gradients of what `read_at_points` read. Items: scales; each owns its rows and takes the points in their order.

    Args:
        first: scale to begin with.
        end: scale to end before.
        unit: as for `read_at_points`, like the three that follow.
        scales: as for `read_at_points`.
        planes: likewise.
        lines: likewise.
        grads: gradients of the features [T, N, S C].
        by_planes: gradients of `planes`, added to.
        by_lines: gradients of `lines`, added to.
        by_unit: each scale's part of those of `unit` [S, N, 3], written.
    """
    channels = planes.shape[1]
    for s in range(first, end):
        size, plane, line = scales[s, 0], scales[s, 1], scales[s, 2]
        for n in range(len(unit)):
            x, y, z = _locate(unit[n, 0], size), _locate(unit[n, 1], size), _locate(unit[n, 2], size)
            xy, xz, yz = _first_cells(plane, size, x, y, z)
            along_x, along_y, along_z = ZERO, ZERO, ZERO
            for c in range(channels):
                at_xy, at_xz = _read_plane(planes, xy, size, c, x, y), _read_plane(planes, xz, size, c, x, z)
                at_yz = _read_plane(planes, yz, size, c, y, z)
                space, by_space = at_xy * at_xz * at_yz, ZERO
                for t in range(len(grads)):
                    row, grad = line + 3 * t * size, grads[t, n, s * channels + c]
                    xt, yt = _read_line(lines, row, c, x), _read_line(lines, row + size, c, y)
                    zt = _read_line(lines, row + 2 * size, c, z)
                    by_space += grad * xt * yt * zt
                    grad *= space
                    along_x += _backward_line(lines, by_lines, row, c, x, grad * yt * zt)
                    along_y += _backward_line(lines, by_lines, row + size, c, y, grad * xt * zt)
                    along_z += _backward_line(lines, by_lines, row + 2 * size, c, z, grad * xt * yt)
                xy_x, xy_y = _backward_plane(planes, by_planes, xy, size, c, x, y, by_space * at_xz * at_yz)
                xz_x, xz_z = _backward_plane(planes, by_planes, xz, size, c, x, z, by_space * at_xy * at_yz)
                yz_y, yz_z = _backward_plane(planes, by_planes, yz, size, c, y, z, by_space * at_xy * at_xz)
                along_x, along_y, along_z = along_x + xy_x + xz_x, along_y + xy_y + yz_y, along_z + xz_z + yz_z
            by_unit[s, n, 0], by_unit[s, n, 1], by_unit[s, n, 2] = along_x, along_y, along_z


@no_type_check
@kernel()
def _locate(unit, size):
    """Where a coordinate falls among `size` cells: the cell before it, the weight of the next, and two slopes.

    The slopes are those of the position in cells, for planes and for lines. Beyond the box both are 0; on its border
    lines still have one. NaN falls into the first cell, with a weight that is NaN.
    """
    scale = HALF * np.float32(size - 1)
    held = unit
    if unit < -ONE:
        held = -ONE
    elif unit > ONE:
        held = ONE
    position = (held + ONE) * scale
    inside = position > ZERO and position < np.float32(size - 1)
    cell = min(int(position), size - 2) if position > ZERO else 0
    return cell, position - np.float32(cell), scale if inside else ZERO, scale if held == unit else ZERO


@no_type_check
@kernel()
def _first_cells(row, size, x, y, z):
    """The cells before a point in the xy, xz and yz planes, the first of which begins at `row`."""
    area = size * size
    return row + y[0] * size + x[0], row + area + z[0] * size + x[0], row + 2 * area + z[0] * size + y[0]


@no_type_check
@kernel()
def _read_plane(planes, i, size, c, x, y):
    """The bilinear read of a plane whose cell before the point is `i`."""
    upper = (ONE - x[1]) * planes[i, c] + x[1] * planes[i + 1, c]
    lower = (ONE - x[1]) * planes[i + size, c] + x[1] * planes[i + size + 1, c]
    return (ONE - y[1]) * upper + y[1] * lower


@no_type_check
@kernel()
def _read_line(lines, row, c, x):
    """The linear read of a line that begins at `row`."""
    return (ONE - x[1]) * lines[row + x[0], c] + x[1] * lines[row + x[0] + 1, c]


@no_type_check
@kernel()
def _backward_line(lines, by_lines, row, c, x, grad):
    """Adds the gradients of the cells that `_read_line` read; returns the gradient of the coordinate."""
    i = row + x[0]
    by_lines[i, c] += (ONE - x[1]) * grad
    by_lines[i + 1, c] += x[1] * grad
    return x[3] * grad * (lines[i + 1, c] - lines[i, c]) if x[3] > ZERO else ZERO


@no_type_check
@kernel()
def _backward_plane(planes, by_planes, i, size, c, x, y, grad):
    """Adds the gradients of the cells that `_read_plane` read; returns those of both coordinates."""
    right, lower = x[1], y[1]
    left, upper = ONE - right, ONE - lower
    by_planes[i, c] += upper * left * grad
    by_planes[i + 1, c] += upper * right * grad
    by_planes[i + size, c] += lower * left * grad
    by_planes[i + size + 1, c] += lower * right * grad
    a, b, below_a, below_b = planes[i, c], planes[i + 1, c], planes[i + size, c], planes[i + size + 1, c]
    along_x = x[2] * grad * (upper * (b - a) + lower * (below_b - below_a)) if x[2] > ZERO else ZERO
    along_y = y[2] * grad * (left * (below_a - a) + right * (below_b - b)) if y[2] > ZERO else ZERO
    return along_x, along_y
