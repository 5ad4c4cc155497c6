"""Reads of the HexPlane and their gradients on a GPU, one scale at a time; importing this module imports Triton.

Letters in shapes: T time, N points, C channels, R cells along an axis of a scale's planes. Tensors are given with their
strides. A program takes a block of points and all channels.
"""

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def read_lines(planes, times, lines, rows, cells, channels, count, s_f, s_c, s_t, s_x, BLOCK: tl.constexpr):
    """Linear reads of time planes [3, C, rows, R] at times [T], written to `lines` [T, 3, R, C].

    Grid: blocks of a time's `count` cells and channels; times.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    t = tl.program_id(1)
    is_inside = i < count
    c, cell, family = i % channels, i // channels % cells, i // (channels * cells)
    row, weight = _row_of(tl.load(times + t), rows)
    at = planes + family * s_f + c * s_c + cell * s_x + row * s_t
    low, high = tl.load(at, mask=is_inside, other=0.0), tl.load(at + s_t, mask=is_inside, other=0.0)
    tl.store(lines + t * count + i, low + weight * (high - low), mask=is_inside)


@no_type_check
@triton.jit
def accumulate_rows(
    grads, times, by_planes, rows, cells, channels, count,
    s_f, s_c, s_t, s_x, g_t, g_f, g_c, g_x, TIMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the time planes, each from those of the lines [T, 3, C, R] that it was read for.

    Grid: blocks of the planes' `count` values.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = i < count
    c, cell, row = i % channels, i // channels % cells, i // (channels * cells) % rows
    family = i // (channels * cells * rows)
    total = tl.zeros((BLOCK,), tl.float32)
    at = grads + family * g_f + c * g_c + cell * g_x
    for t in range(TIMES):
        low, weight = _row_of(tl.load(times + t), rows)
        share = tl.where(row == low, 1 - weight, 0.0) + tl.where(row == low + 1, weight, 0.0)
        total += share * tl.load(at + t * g_t, mask=is_inside, other=0.0)
    tl.store(by_planes + family * s_f + c * s_c + cell * s_x + row * s_t, total, mask=is_inside)


@no_type_check
@triton.jit(do_not_specialize=["count", "f_t"])  # new with each densification
def read_at_points(
    points, aabb, planes, lines, features, count, channels, size,
    p_f, p_c, p_y, p_x, l_t, l_f, l_c, l_x, f_t, f_n,
    TIMES: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Products of the six reads of each point at each time. Grid: blocks of points.

    `points` [N, 3], their box `aabb` [2, 3], planes [3, C, R, R], lines [T, 3, C, R]; `features` [T, N, C] is written.
    """
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CHANNELS)
    is_inside = (n < count)[:, None] & (c < channels)[None, :]
    x, x_weight, _, _ = _locate(points, aabb, 0, n, count, size)
    y, y_weight, _, _ = _locate(points, aabb, 1, n, count, size)
    z, z_weight, _, _ = _locate(points, aabb, 2, n, count, size)
    at = planes + (c * p_c)[None, :]
    space = _read_plane(at, x, x_weight, y, y_weight, p_x, p_y, is_inside)
    space *= _read_plane(at + p_f, x, x_weight, z, z_weight, p_x, p_y, is_inside)
    space *= _read_plane(at + 2 * p_f, y, y_weight, z, z_weight, p_x, p_y, is_inside)
    line, out = lines + (c * l_c)[None, :], features + n[:, None] * f_n + c[None, :]
    for _ in range(TIMES):
        moved, _ = _read_line(line, x, x_weight, l_x, is_inside)
        along_y, _ = _read_line(line + l_f, y, y_weight, l_x, is_inside)
        along_z, _ = _read_line(line + 2 * l_f, z, z_weight, l_x, is_inside)
        tl.store(out, space * moved * along_y * along_z, mask=is_inside)
        line += l_t
        out += f_t


@no_type_check
@triton.jit(do_not_specialize=["count", "g_t"], do_not_specialize_on_alignment=["by_points"])  # as above
def accumulate_gradients(
    points, aabb, planes, lines, grads, by_planes, by_lines, by_points, count, channels, size,
    p_f, p_c, p_y, p_x, l_t, l_f, l_c, l_x, g_t, g_n,
    d_f, d_c, d_y, d_x, e_t, e_f, e_c, e_x,
    TIMES: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients of what `read_at_points` read. Grid: blocks of points.

    Those of planes and lines are added to; those of the points [N, 3] are written.
    """
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CHANNELS)
    is_inside = (n < count)[:, None] & (c < channels)[None, :]
    x, x_weight, x_plane, x_line = _locate(points, aabb, 0, n, count, size)
    y, y_weight, y_plane, y_line = _locate(points, aabb, 1, n, count, size)
    z, z_weight, z_plane, z_line = _locate(points, aabb, 2, n, count, size)
    at, to = planes + (c * p_c)[None, :], by_planes + (c * d_c)[None, :]
    at_xy = _read_plane(at, x, x_weight, y, y_weight, p_x, p_y, is_inside)
    at_xz = _read_plane(at + p_f, x, x_weight, z, z_weight, p_x, p_y, is_inside)
    at_yz = _read_plane(at + 2 * p_f, y, y_weight, z, z_weight, p_x, p_y, is_inside)
    space = at_xy * at_xz * at_yz
    by_space = tl.zeros_like(space)
    along_x, along_y, along_z = tl.zeros_like(space), tl.zeros_like(space), tl.zeros_like(space)
    line, by_line = lines + (c * l_c)[None, :], by_lines + (c * e_c)[None, :]
    grad_at = grads + n[:, None] * g_n + c[None, :]
    for _ in range(TIMES):
        grad = tl.load(grad_at, mask=is_inside, other=0.0)
        xt, x_rise = _read_line(line, x, x_weight, l_x, is_inside)
        yt, y_rise = _read_line(line + l_f, y, y_weight, l_x, is_inside)
        zt, z_rise = _read_line(line + 2 * l_f, z, z_weight, l_x, is_inside)
        by_space += grad * xt * yt * zt
        grad *= space
        by_xt, by_yt, by_zt = grad * yt * zt, grad * xt * zt, grad * xt * yt
        _add_to_line(by_line, x, x_weight, e_x, by_xt, is_inside)
        _add_to_line(by_line + e_f, y, y_weight, e_x, by_yt, is_inside)
        _add_to_line(by_line + 2 * e_f, z, z_weight, e_x, by_zt, is_inside)
        along_x += by_xt * x_rise
        along_y += by_yt * y_rise
        along_z += by_zt * z_rise
        line += l_t
        by_line += e_t
        grad_at += g_t
    by_x = _held(x_line, tl.sum(along_x, 1))
    by_y = _held(y_line, tl.sum(along_y, 1))
    by_z = _held(z_line, tl.sum(along_z, 1))
    by_xy, by_xz, by_yz = by_space * at_xz * at_yz, by_space * at_xy * at_yz, by_space * at_xy * at_xz
    one, two = _backward_plane(at, to, x, x_weight, y, y_weight, p_x, p_y, d_x, d_y, by_xy, is_inside)
    by_x += _held(x_plane, one)
    by_y += _held(y_plane, two)
    one, two = _backward_plane(at + p_f, to + d_f, x, x_weight, z, z_weight, p_x, p_y, d_x, d_y, by_xz, is_inside)
    by_x += _held(x_plane, one)
    by_z += _held(z_plane, two)
    at, to = at + 2 * p_f, to + 2 * d_f
    one, two = _backward_plane(at, to, y, y_weight, z, z_weight, p_x, p_y, d_x, d_y, by_yz, is_inside)
    by_y += _held(y_plane, one)
    by_z += _held(z_plane, two)
    tl.store(by_points + 3 * n, by_x, mask=n < count)
    tl.store(by_points + 3 * n + 1, by_y, mask=n < count)
    tl.store(by_points + 3 * n + 2, by_z, mask=n < count)


@no_type_check
@triton.jit
def _row_of(time, rows):
    """The row before a time, and the weight of the next."""
    held = tl.where(time < 0.0, 0.0, tl.where(time > 1.0, 1.0, time))
    position = held * (rows - 1)
    low = tl.minimum(tl.where(position > 0.0, position, 0.0).to(tl.int32), rows - 2)
    return low, position - low


@no_type_check
@triton.jit
def _locate(points, aabb, axis: tl.constexpr, n, count, size):
    """Where coordinates fall among `size` cells: the cells before them, the weights of the next, and two slopes.

    The slopes are those of the position in cells, for planes and for lines. Beyond the box both are 0; on its border
    lines still have one. NaN falls into the first cell, with a weight that is NaN.
    """
    low, high = tl.load(aabb + axis), tl.load(aabb + 3 + axis)
    unit = 2.0 * (tl.load(points + 3 * n + axis, mask=n < count, other=0.0) - low) / (high - low) - 1.0
    scale = 0.5 * (size - 1)
    held = tl.where(unit < -1.0, -1.0, tl.where(unit > 1.0, 1.0, unit))
    position = (held + 1.0) * scale
    cell = tl.minimum(tl.where(position > 0.0, position, 0.0).to(tl.int32), size - 2)
    is_within = (position > 0.0) & (position < size - 1)
    slope = scale * 2.0 / (high - low)
    return cell, position - cell, tl.where(is_within, slope, 0.0), tl.where(held == unit, slope, 0.0)


@no_type_check
@triton.jit
def _held(slope, rise):
    """Slope times rise; 0 where there is no slope, be the rise NaN."""
    return tl.where(slope > 0.0, slope * rise, 0.0)


@no_type_check
@triton.jit
def _read_plane(at, x, x_weight, y, y_weight, s_x, s_y, is_inside):
    """The bilinear reads of a plane."""
    first = at + (x * s_x + y * s_y)[:, None]
    a, b = tl.load(first, mask=is_inside, other=0.0), tl.load(first + s_x, mask=is_inside, other=0.0)
    first += s_y
    below_a, below_b = tl.load(first, mask=is_inside, other=0.0), tl.load(first + s_x, mask=is_inside, other=0.0)
    right, lower = x_weight[:, None], y_weight[:, None]
    return (1 - lower) * ((1 - right) * a + right * b) + lower * ((1 - right) * below_a + right * below_b)


@no_type_check
@triton.jit
def _backward_plane(at, to, x, x_weight, y, y_weight, s_x, s_y, d_x, d_y, grad, is_inside):
    """Adds the gradients of the cells that `_read_plane` read; returns the sums of those of both positions in cells."""
    first = at + (x * s_x + y * s_y)[:, None]
    a, b = tl.load(first, mask=is_inside, other=0.0), tl.load(first + s_x, mask=is_inside, other=0.0)
    first += s_y
    below_a, below_b = tl.load(first, mask=is_inside, other=0.0), tl.load(first + s_x, mask=is_inside, other=0.0)
    right, lower = x_weight[:, None], y_weight[:, None]
    left, upper = 1 - right, 1 - lower
    target = to + (x * d_x + y * d_y)[:, None]
    tl.atomic_add(target, upper * left * grad, mask=is_inside, sem="relaxed")
    tl.atomic_add(target + d_x, upper * right * grad, mask=is_inside, sem="relaxed")
    tl.atomic_add(target + d_y, lower * left * grad, mask=is_inside, sem="relaxed")
    tl.atomic_add(target + d_x + d_y, lower * right * grad, mask=is_inside, sem="relaxed")
    along_x = tl.sum(grad * (upper * (b - a) + lower * (below_b - below_a)), 1)
    return along_x, tl.sum(grad * (left * (below_a - a) + right * (below_b - b)), 1)


@no_type_check
@triton.jit
def _read_line(line, x, weight, s_x, is_inside):
    """The linear reads of a line, and their rise per cell."""
    at = line + (x * s_x)[:, None]
    left, right = tl.load(at, mask=is_inside, other=0.0), tl.load(at + s_x, mask=is_inside, other=0.0)
    return (1 - weight[:, None]) * left + weight[:, None] * right, right - left


@no_type_check
@triton.jit
def _add_to_line(line, x, weight, s_x, grad, is_inside):
    """Adds the gradients of the cells that `_read_line` read."""
    at = line + (x * s_x)[:, None]
    tl.atomic_add(at, (1 - weight[:, None]) * grad, mask=is_inside, sem="relaxed")
    tl.atomic_add(at + s_x, weight[:, None] * grad, mask=is_inside, sem="relaxed")
