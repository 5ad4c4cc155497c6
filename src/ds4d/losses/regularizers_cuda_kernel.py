"""Regularizers and their gradients on a GPU; importing this module imports Triton.

Letters in shapes: T time, N points, k neighbors, C channels. Planes are given with their strides.
"""

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def sum_planes(
    planes, sums, families, channels, rows, columns, s_f, s_c, s_y, s_x, per_across, per_down, per_cell,
    ACROSS: tl.constexpr, DOWN: tl.constexpr, FROM_ONE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Weighted sums over planes [3, C, rows, columns]: squared second differences, absolute differences from 1.

    Grid: blocks of cells. `sums` [blocks] is written.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = i < families * channels * rows * columns
    x, y, c = i % columns, i // columns % rows, i // (columns * rows) % channels
    at = planes + i // (columns * rows * channels) * s_f + c * s_c + y * s_y + x * s_x
    here = tl.load(at, mask=is_inside, other=1.0)
    total = tl.zeros((BLOCK,), tl.float32)
    if ACROSS:
        curve = _curve(at, here, s_x, is_inside & (x + 2 < columns))
        total += per_across * curve * curve
    if DOWN:
        curve = _curve(at, here, s_y, is_inside & (y + 2 < rows))
        total += per_down * curve * curve
    if FROM_ONE:
        total += per_cell * tl.abs(1.0 - here)
    tl.store(sums + tl.program_id(0), tl.sum(total, 0))


@no_type_check
@triton.jit
def sum_planes_backward(
    planes, grad, by_planes, families, channels, rows, columns, s_f, s_c, s_y, s_x, d_f, d_c, d_y, d_x,
    per_across, per_down, per_cell,
    ACROSS: tl.constexpr, DOWN: tl.constexpr, FROM_ONE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the sum of `sum_planes`, written. Grid: blocks of cells."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = i < families * channels * rows * columns
    x, y, c = i % columns, i // columns % rows, i // (columns * rows) % channels
    family = i // (columns * rows * channels)
    at = planes + family * s_f + c * s_c + y * s_y + x * s_x
    here = tl.load(at, mask=is_inside, other=1.0)
    total = tl.zeros((BLOCK,), tl.float32)
    if ACROSS:
        total += 2.0 * per_across * _spread(at, here, x, columns, s_x, is_inside)
    if DOWN:
        total += 2.0 * per_down * _spread(at, here, y, rows, s_y, is_inside)
    if FROM_ONE:
        total += per_cell * tl.where(here > 1.0, 1.0, tl.where(here < 1.0, -1.0, 0.0))
    out = by_planes + family * d_f + c * d_c + y * d_y + x * d_x
    tl.store(out, tl.load(grad) * total, mask=is_inside)


@no_type_check
@triton.jit(do_not_specialize=["count"])  # new with each densification
def sum_changes(
    canonical, moved, neighbors, sums, count, scale,
    TIMES: tl.constexpr, BLOCK: tl.constexpr, NEIGHBORS: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Sums over times and neighbors [N, k] of absolute changes of distance. Grid: blocks of points.

    `canonical` [N, 3], `moved` [T, N, 3]; `sums` [blocks] is written.
    """
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, PADDED)
    is_pair = (n < count)[:, None] & (k < NEIGHBORS)[None, :]
    other = tl.load(neighbors + n[:, None] * NEIGHBORS + k[None, :], mask=is_pair, other=0)
    x, y, z = _offsets(canonical, n, other, n < count, is_pair)
    before = tl.sqrt(x * x + y * y + z * z)
    total = tl.zeros((BLOCK, PADDED), tl.float32)
    for _ in range(TIMES):
        x, y, z = _offsets(moved, n, other, n < count, is_pair)
        total += tl.abs(tl.sqrt(x * x + y * y + z * z + 1e-12) - before)
        moved += 3 * count
    tl.store(sums + tl.program_id(0), scale * tl.sum(tl.sum(tl.where(is_pair, total, 0.0), 1), 0))


@no_type_check
@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["by_moved"])  # as above
def sum_changes_backward(
    canonical, moved, neighbors, grad, by_canonical, by_moved, count, scale,
    TIMES: tl.constexpr, BLOCK: tl.constexpr, NEIGHBORS: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Gradients of the sum of `sum_changes`, added to. Grid: blocks of points."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, PADDED)
    is_point = n < count
    is_pair = is_point[:, None] & (k < NEIGHBORS)[None, :]
    other = tl.load(neighbors + n[:, None] * NEIGHBORS + k[None, :], mask=is_pair, other=0)
    first_x, first_y, first_z = _offsets(canonical, n, other, is_point, is_pair)
    before = tl.sqrt(first_x * first_x + first_y * first_y + first_z * first_z)
    scale = scale * tl.load(grad)
    signs = tl.zeros((BLOCK, PADDED), tl.float32)
    for _ in range(TIMES):
        x, y, z = _offsets(moved, n, other, is_point, is_pair)
        now = tl.sqrt(x * x + y * y + z * z + 1e-12)
        sign = tl.where(now > before, 1.0, tl.where(now < before, -1.0, 0.0))
        signs += sign
        _pull(by_moved, n, other, scale * sign / now, x, y, z, is_point, is_pair)
        moved += 3 * count
        by_moved += 3 * count
    slope = tl.where(before > 0.0, -scale * signs / before, 0.0)
    _pull(by_canonical, n, other, slope, first_x, first_y, first_z, is_point, is_pair)


@no_type_check
@triton.jit
def _curve(at, here, stride, is_read):
    """Second differences from a cell on; 0 where they do not fit."""
    middle, last = tl.load(at + stride, mask=is_read, other=0.0), tl.load(at + 2 * stride, mask=is_read, other=0.0)
    return tl.where(is_read, here - 2.0 * middle + last, 0.0)


@no_type_check
@triton.jit
def _spread(at, here, i, size, stride, is_inside):
    """The second differences that a cell is in, as often as it counts in each."""
    a = tl.load(at - 2 * stride, mask=is_inside & (i >= 2), other=0.0)
    b = tl.load(at - stride, mask=is_inside & (i >= 1), other=0.0)
    d = tl.load(at + stride, mask=is_inside & (i + 1 < size), other=0.0)
    e = tl.load(at + 2 * stride, mask=is_inside & (i + 2 < size), other=0.0)
    total = tl.where(i >= 2, a - 2.0 * b + here, 0.0)
    total += tl.where((i >= 1) & (i + 1 < size), -2.0 * (b - 2.0 * here + d), 0.0)
    return total + tl.where(i + 2 < size, here - 2.0 * d + e, 0.0)


@no_type_check
@triton.jit
def _offsets(points, n, other, is_point, is_pair):
    """From points [N, 3] to their neighbors; 0 where there is none."""
    at, to = points + 3 * n, points + 3 * other
    x = tl.load(to, mask=is_pair, other=0.0) - tl.load(at, mask=is_point, other=0.0)[:, None]
    y = tl.load(to + 1, mask=is_pair, other=0.0) - tl.load(at + 1, mask=is_point, other=0.0)[:, None]
    z = tl.load(to + 2, mask=is_pair, other=0.0) - tl.load(at + 2, mask=is_point, other=0.0)[:, None]
    return x, y, z


@no_type_check
@triton.jit
def _pull(gradients, n, other, slope, x, y, z, is_point, is_pair):
    """Adds slope times offset to the neighbors and takes it from the points."""
    at, to = gradients + 3 * n, gradients + 3 * other
    x, y, z = tl.where(is_pair, slope * x, 0.0), tl.where(is_pair, slope * y, 0.0), tl.where(is_pair, slope * z, 0.0)
    tl.atomic_add(to, x, mask=is_pair, sem="relaxed")
    tl.atomic_add(to + 1, y, mask=is_pair, sem="relaxed")
    tl.atomic_add(to + 2, z, mask=is_pair, sem="relaxed")
    tl.atomic_add(at, -tl.sum(x, 1), mask=is_point, sem="relaxed")
    tl.atomic_add(at + 1, -tl.sum(y, 1), mask=is_point, sem="relaxed")
    tl.atomic_add(at + 2, -tl.sum(z, 1), mask=is_point, sem="relaxed")
