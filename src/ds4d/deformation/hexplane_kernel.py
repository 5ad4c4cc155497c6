"""Reads of the HexPlane and their gradients on the CPU: dozens of passes over the points become one and another back.

Compiled by numba at the first use and kept on disk; importing this module imports numba. A block is `LANES` channels of
one scale. They lie side by side in memory and pass through the arithmetic as one vector of the processor. numba makes
such vectors of long loops alone, so a type of their own stands for them; what it can do is at the end. Letters in
shapes: T time, N points, B blocks, L = LANES, R cells along an axis of a block's planes.
"""

from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

LANES = 8

# Rounding may differ from strict IEEE order, which is what fuses products with sums; NaN and infinity stay honest.
_FAST = {"contract", "nsz", "arcp", "reassoc"}
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class _Lanes(types.Type):
    """The values of a block's channels."""


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, _VECTOR)


_LANES = _Lanes("Lanes")


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def read_points(first, end, unit, blocks, planes, lines, features):
    """Products of the six reads of each point, at each time and in each block. Items: points.

    Args:
        first: point to begin with.
        end: point to end before.
        unit: points [N, 3], the box from -1 to 1; float32.
        blocks: integers [B, 3]: R, the block's first row in `planes`, and its first in `lines`.
        planes: rows [_, L]; a block's are [3, R, R], its xy, xz and yz planes, the second axis before the first.
        lines: rows [_, L]; a block's are [T, 3, R], what its xt, yt and zt planes hold at each time.
        features: [T, N, B L], written.
    """
    for n in range(first, end):
        for b in range(len(blocks)):
            size, plane, line = blocks[b, 0], blocks[b, 1], blocks[b, 2]
            x, y, z = _locate(unit[n, 0], size), _locate(unit[n, 1], size), _locate(unit[n, 2], size)
            xy, xz, yz = _read_planes(planes, plane, size, x, y, z)
            space = _product(xy, xz, yz)
            for t in range(len(features)):
                xt, yt, zt = _read_lines(lines, line + 3 * t * size, size, x, y, z)
                _store(features, (t * len(unit) + n) * len(blocks) + b, _multiply(space, _product(xt, yt, zt)))


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def pull_blocks(first, end, unit, blocks, planes, lines, pulls, by_planes, by_lines, by_unit):
    """Gradients of what `read_points` read. Items: blocks; each owns its rows and takes the points in their order.

    Args:
        first: block to begin with.
        end: block to end before.
        unit: as `read_points` took it, like the three that follow.
        blocks: likewise.
        planes: likewise.
        lines: likewise.
        pulls: gradients of the features [T, N, B L].
        by_planes: of `planes`, added to.
        by_lines: of `lines`, added to.
        by_unit: each block's part of those of `unit` [B, N, 3], written; where nobody asks, [B, 0, 3].
    """
    for b in range(first, end):
        size, plane, line = blocks[b, 0], blocks[b, 1], blocks[b, 2]
        for n in range(len(unit)):
            x, y, z = _locate(unit[n, 0], size), _locate(unit[n, 1], size), _locate(unit[n, 2], size)
            xy, xz, yz = _read_planes(planes, plane, size, x, y, z)
            space, by_space = _product(xy, xz, yz), _fill(_ZERO)
            along_x, along_y, along_z = _ZERO, _ZERO, _ZERO
            for t in range(len(pulls)):
                row = line + 3 * t * size
                xt, yt, zt = _read_lines(lines, row, size, x, y, z)
                pull = _load(pulls, (t * len(unit) + n) * len(blocks) + b)
                by_space = _add(by_space, _multiply(pull, _product(xt, yt, zt)))
                by_time = _multiply(pull, space)
                along_x += _pull_line(lines, by_lines, row, x, _product(by_time, yt, zt))
                along_y += _pull_line(lines, by_lines, row + size, y, _product(by_time, xt, zt))
                along_z += _pull_line(lines, by_lines, row + 2 * size, z, _product(by_time, xt, yt))
            area = size * size
            xy_x, xy_y = _pull_plane(planes, by_planes, plane, size, x, y, _product(by_space, xz, yz))
            xz_x, xz_z = _pull_plane(planes, by_planes, plane + area, size, x, z, _product(by_space, xy, yz))
            yz_y, yz_z = _pull_plane(planes, by_planes, plane + 2 * area, size, y, z, _product(by_space, xy, xz))
            if by_unit.shape[1] > 0:
                by_unit[b, n, 0] = along_x + xy_x + xz_x
                by_unit[b, n, 1] = along_y + xy_y + yz_y
                by_unit[b, n, 2] = along_z + xz_z + yz_z


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _locate(unit, size):
    """Where a coordinate falls among `size` cells: the cell before it, the share of the next, and two slopes.

    The slopes are those of the position in cells, for planes and for lines. Beyond the box both are 0; on its border
    lines still have one. NaN falls into the first cell, with a share that is NaN.
    """
    scale = _HALF * np.float32(size - 1)
    held = unit
    if unit < -_ONE:
        held = -_ONE
    elif unit > _ONE:
        held = _ONE
    position = (held + _ONE) * scale
    inside = position > _ZERO and position < np.float32(size - 1)
    cell = min(int(position), size - 2) if position > _ZERO else 0
    return cell, position - np.float32(cell), scale if inside else _ZERO, scale if held == unit else _ZERO


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _read_planes(planes, row, size, x, y, z):
    """The bilinear reads of a block's xy, xz and yz planes, which begin at `row`."""
    xy = _read_plane(planes, row, size, x, y)
    xz = _read_plane(planes, row + size * size, size, x, z)
    return xy, xz, _read_plane(planes, row + 2 * size * size, size, y, z)


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _read_lines(lines, row, size, x, y, z):
    """The linear reads of a block's lines of one time, which begin at `row`."""
    xt, yt = _read_pair(lines, row + x[0], x[1]), _read_pair(lines, row + size + y[0], y[1])
    return xt, yt, _read_pair(lines, row + 2 * size + z[0], z[1])


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _read_plane(planes, row, size, x, y):
    i = row + y[0] * size + x[0]
    return _mix(_read_pair(planes, i, x[1]), _read_pair(planes, i + size, x[1]), y[1])


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _read_pair(rows, i, share):
    return _mix(_load(rows, i), _load(rows, i + 1), share)


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _mix(a, b, share):
    return _add(_multiply(a, _fill(_ONE - share)), _multiply(b, _fill(share)))


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _product(a, b, c):
    return _multiply(_multiply(a, b), c)


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _pull_line(lines, by_lines, row, x, pull):
    """Adds what comes back through the read of a line; returns the gradient along it."""
    i = row + x[0]
    left = _pull_cell(lines, by_lines, i, _ONE - x[1], pull)
    right = _pull_cell(lines, by_lines, i + 1, x[1], pull)
    return x[3] * (right - left) if x[3] > _ZERO else _ZERO


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _pull_plane(planes, by_planes, row, size, x, y, pull):
    """Adds what comes back through `_read_plane`; returns the gradients along both axes."""
    i = row + y[0] * size + x[0]
    right, lower = x[1], y[1]
    left, upper = _ONE - right, _ONE - lower
    a = _pull_cell(planes, by_planes, i, upper * left, pull)
    b = _pull_cell(planes, by_planes, i + 1, upper * right, pull)
    c = _pull_cell(planes, by_planes, i + size, lower * left, pull)
    d = _pull_cell(planes, by_planes, i + size + 1, lower * right, pull)
    along_x = x[2] * (upper * (b - a) + lower * (d - c)) if x[2] > _ZERO else _ZERO
    along_y = y[2] * (left * (c - a) + right * (d - b)) if y[2] > _ZERO else _ZERO
    return along_x, along_y


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _pull_cell(rows, by_rows, i, weight, pull):
    """Adds to a cell's gradient; returns what the pull is worth at the cell."""
    _store(by_rows, i, _add(_load(by_rows, i), _multiply(_fill(weight), pull)))
    return _sum(_multiply(_load(rows, i), pull))


@no_type_check
@intrinsic
def _load(typing, array, i):
    """The i-th run of lanes of an array in row-major order."""

    def build(context, builder, signature, args):
        return builder.load(_run(context, builder, signature, args), align=4)

    return _LANES(array, types.intp), build


@no_type_check
@intrinsic
def _store(typing, array, i, lanes):
    """Writes the i-th run of lanes."""

    def build(context, builder, signature, args):
        builder.store(args[2], _run(context, builder, signature, args), align=4)

    return types.void(array, types.intp, _LANES), build


@no_type_check
def _run(context, builder, signature, args):
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    start = builder.gep(data, [builder.mul(args[1], ir.Constant(args[1].type, LANES))])
    return builder.bitcast(start, _VECTOR.as_pointer())


@no_type_check
@intrinsic
def _fill(typing, value):
    def build(context, builder, signature, args):
        lanes = ir.Constant(_VECTOR, ir.Undefined)
        for k in range(LANES):
            lanes = builder.insert_element(lanes, args[0], ir.Constant(ir.IntType(32), k))
        return lanes

    return _LANES(types.float32), build


@no_type_check
@intrinsic
def _add(typing, a, b):
    return _LANES(_LANES, _LANES), lambda context, builder, signature, args: builder.fadd(*args)


@no_type_check
@intrinsic
def _multiply(typing, a, b):
    return _LANES(_LANES, _LANES), lambda context, builder, signature, args: builder.fmul(*args)


@no_type_check
@intrinsic
def _sum(typing, lanes):
    def build(context, builder, signature, args):
        values = [builder.extract_element(args[0], ir.Constant(ir.IntType(32), k)) for k in range(LANES)]
        while len(values) > 1:
            half = len(values) // 2
            values = [builder.fadd(a, b) for a, b in zip(values[:half], values[half:], strict=True)]
        return values[0]

    return types.float32(_LANES), build
