"""The fusion rule `visible` and its gradients on a GPU; importing this module imports Triton.

Letters in shapes: T time, V views, N points, C channels, h w cells of a map. A program takes a block of points of one
time, all views and all channels. Tensors are given with their strides.
"""

from typing import no_type_check

import triton
import triton.language as tl

_NEAR = tl.constexpr(0.01)  # as in `point_sampling`
_EPS = tl.constexpr(1e-6)
_LOWEST = tl.constexpr(-1e30)


@no_type_check
@triton.jit(do_not_specialize=["count", "p_t"])  # new with each densification
def fuse(
    maps, score, bonus, points, viewmats, Ks, valid, depths, warps, fused, peaks, sums, count, channels,
    width, height, rows, columns, depth_rows, depth_columns, nodes, tolerance,
    p_t, p_n, e_t, e_v, e_r, k_t, k_v, k_r, v_t, d_t, d_v, d_y, m_t, m_v, m_c, m_y, m_x,
    WITH_WARPS: tl.constexpr, VIEWS: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sums of the samples by softmax of their scores times visibility. Grid: blocks of points; times.

    Writes `fused` [T, N, C], and the highest score and the sum of the weights of each point [T, N].
    """
    t = tl.program_id(1)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CHANNELS)
    is_point = n < count
    is_inside = is_point[:, None] & (c < channels)[None, :]
    at = points + t * p_t + n * p_n
    x, y, z = (
        tl.load(at, mask=is_point, other=0.0),
        tl.load(at + 1, mask=is_point, other=0.0),
        tl.load(at + 2, mask=is_point, other=0.0),
    )
    u = tl.load(score + c, mask=c < channels, other=0.0)
    peak, total = tl.full((BLOCK,), _LOWEST, tl.float32), tl.zeros((BLOCK,), tl.float32)
    result = tl.zeros((BLOCK, CHANNELS), tl.float32)
    for v in range(VIEWS):
        column, row, seen = _see(
            x, y, z, t, v, viewmats, Ks, valid, depths, warps, width, height, depth_rows, depth_columns, nodes,
            tolerance, e_t, e_v, e_r, k_t, k_v, k_r, v_t, d_t, d_v, d_y, WITH_WARPS, VIEWS,
        )  # fmt: skip
        is_read = is_inside & (seen > 0.0)[:, None]
        cells = maps + t * m_t + v * m_v + (c * m_c)[None, :]
        sample = _sample(cells, column, row, columns, rows, m_x, m_y, is_read)
        value = tl.sum(sample * u[None, :], 1)
        if v == 0:
            value += tl.load(bonus)
        higher = tl.where(seen > 0.0, tl.maximum(peak, value), peak)
        kept = tl.exp(peak - higher)
        weight = tl.where(seen > 0.0, seen * tl.exp(value - higher), 0.0)
        total = total * kept + weight
        result = result * kept[:, None] + weight[:, None] * sample
        peak = higher
    result = result / tl.maximum(total, _EPS)[:, None]
    tl.store(fused + (t * count + n)[:, None] * channels + c[None, :], result, mask=is_inside)
    tl.store(peaks + t * count + n, peak, mask=is_point)
    tl.store(sums + t * count + n, total, mask=is_point)


@no_type_check
@triton.jit(do_not_specialize=["count", "p_t"])  # new with each densification
def fuse_backward(
    maps, score, bonus, points, viewmats, Ks, valid, depths, warps, fused, peaks, sums, grads,
    by_maps, by_score, by_bonus, count, channels,
    width, height, rows, columns, depth_rows, depth_columns, nodes, tolerance,
    p_t, p_n, e_t, e_v, e_r, k_t, k_v, k_r, v_t, d_t, d_v, d_y, m_t, m_v, m_c, m_y, m_x,
    b_t, b_v, b_c, b_y, b_x,
    WITH_WARPS: tl.constexpr, VIEWS: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients of `fuse`, all added to. Grid: blocks of points; times."""
    t = tl.program_id(1)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CHANNELS)
    is_point = n < count
    is_inside = is_point[:, None] & (c < channels)[None, :]
    at = points + t * p_t + n * p_n
    x, y, z = (
        tl.load(at, mask=is_point, other=0.0),
        tl.load(at + 1, mask=is_point, other=0.0),
        tl.load(at + 2, mask=is_point, other=0.0),
    )
    u = tl.load(score + c, mask=c < channels, other=0.0)
    place = (t * count + n)[:, None] * channels + c[None, :]
    grad = tl.load(grads + place, mask=is_inside, other=0.0)
    mean = tl.sum(grad * tl.load(fused + place, mask=is_inside, other=0.0), 1)
    peak = tl.load(peaks + t * count + n, mask=is_point, other=0.0)
    total = tl.load(sums + t * count + n, mask=is_point, other=0.0)
    by_u = tl.zeros((BLOCK, CHANNELS), tl.float32)
    for v in range(VIEWS):
        column, row, seen = _see(
            x, y, z, t, v, viewmats, Ks, valid, depths, warps, width, height, depth_rows, depth_columns, nodes,
            tolerance, e_t, e_v, e_r, k_t, k_v, k_r, v_t, d_t, d_v, d_y, WITH_WARPS, VIEWS,
        )  # fmt: skip
        is_read = is_inside & (seen > 0.0)[:, None]
        cells = maps + t * m_t + v * m_v + (c * m_c)[None, :]
        sample = _sample(cells, column, row, columns, rows, m_x, m_y, is_read)
        value = tl.sum(sample * u[None, :], 1)
        if v == 0:
            value += tl.load(bonus)
        weight = tl.where(seen > 0.0, seen * tl.exp(value - peak), 0.0) / tl.maximum(total, _EPS)
        by_value = tl.where(total > _EPS, weight * (tl.sum(grad * sample, 1) - mean), 0.0)
        by_u += by_value[:, None] * sample
        if v == 0:
            tl.atomic_add(by_bonus, tl.sum(by_value, 0), sem="relaxed")
        by_sample = weight[:, None] * grad + by_value[:, None] * u[None, :]
        targets = by_maps + t * b_t + v * b_v + (c * b_c)[None, :]
        _add_sample(targets, column, row, columns, rows, b_x, b_y, by_sample, is_read)
    tl.atomic_add(by_score + c, tl.sum(by_u, 0), mask=c < channels, sem="relaxed")


@no_type_check
@triton.jit
def _see(
    x, y, z, t, v, viewmats, Ks, valid, depths, warps, width, height, depth_rows, depth_columns, nodes, tolerance,
    e_t, e_v, e_r, k_t, k_v, k_r, v_t, d_t, d_v, d_y, WITH_WARPS: tl.constexpr, VIEWS: tl.constexpr,
):  # fmt: skip
    """Where a view shows points: x and y in [-1, 1] over its image, warped, and their visibility."""
    E, K = viewmats + t * e_t + v * e_v, Ks + t * k_t + v * k_v
    right = tl.load(E) * x + tl.load(E + 1) * y + tl.load(E + 2) * z + tl.load(E + 3)
    E += e_r
    down = tl.load(E) * x + tl.load(E + 1) * y + tl.load(E + 2) * z + tl.load(E + 3)
    E += e_r
    depth = tl.load(E) * x + tl.load(E + 1) * y + tl.load(E + 2) * z + tl.load(E + 3)
    safe = tl.where(tl.abs(depth) < 1e-8, 1e-8, depth)
    right, down, ahead = right / safe, down / safe, depth / safe
    column = tl.load(K) * right + tl.load(K + 1) * down + tl.load(K + 2) * ahead
    K += k_r
    row = tl.load(K) * right + tl.load(K + 1) * down + tl.load(K + 2) * ahead
    is_ahead = depth > _NEAR
    column = tl.where(is_ahead, 2.0 * column / width - 1.0, 2.0)
    row = tl.where(is_ahead, 2.0 * row / height - 1.0, 2.0)
    is_seen = is_ahead & (tl.abs(column) <= 1.0) & (tl.abs(row) <= 1.0)

    # Interpolated over rendered pixels only: between a surface and the empty pixel beside it there is no surface.
    left, next_left, x_share = _neighbors(column, depth_columns)
    top, next_top, y_share = _neighbors(row, depth_rows)
    at = depths + t * d_t + v * d_v
    surface, rendered = _add_depth(at + top * d_y + left, (1.0 - y_share) * (1.0 - x_share), is_seen, 0.0, 0.0)
    surface, rendered = _add_depth(at + top * d_y + next_left, (1.0 - y_share) * x_share, is_seen, surface, rendered)
    surface, rendered = _add_depth(at + next_top * d_y + left, y_share * (1.0 - x_share), is_seen, surface, rendered)
    surface, rendered = _add_depth(at + next_top * d_y + next_left, y_share * x_share, is_seen, surface, rendered)
    behind = depth - surface / tl.maximum(rendered, _EPS)
    seen = tl.where(rendered > _EPS, tl.sigmoid((tolerance - behind) * (4.0 / tolerance)), 1.0)
    seen = tl.where(is_seen, seen * tl.load(valid + t * v_t + v), 0.0)

    if WITH_WARPS:
        left, next_left, x_share = _nodes(column, nodes)
        top, next_top, y_share = _nodes(row, nodes)
        at = warps + (t * VIEWS + v) * 2 * nodes * nodes
        x_shift = _interpolate(at, left, next_left, x_share, top, next_top, y_share, nodes, is_seen)
        at += nodes * nodes
        row -= _interpolate(at, left, next_left, x_share, top, next_top, y_share, nodes, is_seen)
        column -= x_shift
    return column, row, seen


@no_type_check
@triton.jit
def _neighbors(position, size):
    """The two cells whose centers are next to positions in [-1, 1] over the cells, and the weight of the second."""
    at = ((position + 1.0) * size - 1.0) * 0.5
    at = tl.where(at > 0.0, tl.where(at < size - 1.0, at, size - 1.0), 0.0)  # NaN is not above 0
    low = at.to(tl.int32)
    return low, tl.minimum(low + 1, size - 1), at - low


@no_type_check
@triton.jit
def _nodes(position, size):
    """The two nodes next to positions in [-1, 1] from the first node to the last, and the weight of the second."""
    at = (position + 1.0) * 0.5 * (size - 1)
    at = tl.where(at > 0.0, tl.where(at < size - 1.0, at, size - 1.0), 0.0)
    low = at.to(tl.int32)
    return low, tl.minimum(low + 1, size - 1), at - low


@no_type_check
@triton.jit
def _interpolate(at, left, right, x_share, top, bottom, y_share, stride, is_read):
    """Bilinear reads of single numbers."""
    a = tl.load(at + top * stride + left, mask=is_read, other=0.0)
    b = tl.load(at + top * stride + right, mask=is_read, other=0.0)
    below_a = tl.load(at + bottom * stride + left, mask=is_read, other=0.0)
    below_b = tl.load(at + bottom * stride + right, mask=is_read, other=0.0)
    return (1.0 - y_share) * ((1.0 - x_share) * a + x_share * b) + y_share * (
        (1.0 - x_share) * below_a + x_share * below_b
    )


@no_type_check
@triton.jit
def _add_depth(at, share, is_read, surface, rendered):
    """Adds a pixel's share of depth and of what is rendered, if it is."""
    depth = tl.load(at, mask=is_read, other=0.0).to(tl.float32)
    share = tl.where(depth > 0.0, share, 0.0)
    return surface + share * depth, rendered + share


@no_type_check
@triton.jit
def _sample(cells, column, row, columns, rows, s_x, s_y, is_read):
    """Bilinear reads of all channels."""
    left, right, x = _neighbors(column, columns)
    top, bottom, y = _neighbors(row, rows)
    x, y = x[:, None], y[:, None]
    a = tl.load(cells + (top * s_y + left * s_x)[:, None], mask=is_read, other=0.0)
    b = tl.load(cells + (top * s_y + right * s_x)[:, None], mask=is_read, other=0.0)
    below_a = tl.load(cells + (bottom * s_y + left * s_x)[:, None], mask=is_read, other=0.0)
    below_b = tl.load(cells + (bottom * s_y + right * s_x)[:, None], mask=is_read, other=0.0)
    return (1.0 - y) * ((1.0 - x) * a + x * b) + y * ((1.0 - x) * below_a + x * below_b)


@no_type_check
@triton.jit
def _add_sample(cells, column, row, columns, rows, s_x, s_y, grad, is_read):
    """Adds the gradients of the cells that `_sample` read."""
    left, right, x = _neighbors(column, columns)
    top, bottom, y = _neighbors(row, rows)
    x, y = x[:, None], y[:, None]
    tl.atomic_add(cells + (top * s_y + left * s_x)[:, None], (1.0 - y) * (1.0 - x) * grad, mask=is_read, sem="relaxed")
    tl.atomic_add(cells + (top * s_y + right * s_x)[:, None], (1.0 - y) * x * grad, mask=is_read, sem="relaxed")
    tl.atomic_add(cells + (bottom * s_y + left * s_x)[:, None], y * (1.0 - x) * grad, mask=is_read, sem="relaxed")
    tl.atomic_add(cells + (bottom * s_y + right * s_x)[:, None], y * x * grad, mask=is_read, sem="relaxed")
