"""Trunk and heads of the deformation field and their gradients on a GPU; importing this module imports Triton.

Letters in shapes: M rows, one for each time and point, F features of the planes, C of the points, w width, H heads, S
numbers of all heads. SIZES and STARTS hold four bits for each head: how many numbers it makes, and how many the heads
before it do. All tensors are contiguous; the trunk's weights are [w, columns], of which the first F + C are read.
"""

from typing import no_type_check

import triton
import triton.language as tl

_LAST = tl.constexpr(16)  # numbers of a head, padded


@no_type_check
@triton.jit(do_not_specialize=["rows"])  # new with each densification
def run(
    planes, points, first, first_bias, inner, inner_bias, outer, outer_bias, out,
    rows, features, channels, columns, width,
    SIZES: tl.constexpr, STARTS: tl.constexpr, HEADS: tl.constexpr, WITH_POINTS: tl.constexpr,
    FEATURES: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What each head makes of planes [M, F] and points [M, C]: `out` holds [M, size] of each. Grid: blocks of rows."""
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    hidden = _trunk(
        planes, points, first, first_bias, m, rows, features, channels, columns, width,
        WITH_POINTS, FEATURES, CHANNELS, WIDTH, PRECISION,
    )  # fmt: skip
    hidden = tl.maximum(hidden, 0.0)
    j = tl.arange(0, _LAST)
    for head in range(HEADS):
        size = (SIZES >> (4 * head)) & 15
        start = (STARTS >> (4 * head)) & 15
        middle = tl.maximum(_inner(hidden, inner, inner_bias, head, width, WIDTH, PRECISION), 0.0)
        weights = _outer(outer, start, size, width, WIDTH)
        result = tl.dot(middle, tl.trans(weights), input_precision=PRECISION)
        result += tl.load(outer_bias + start + j, mask=j < size, other=0.0)[None, :]
        at = out + rows * start + m[:, None] * size + j[None, :]
        tl.store(at, result, mask=(m < rows)[:, None] & (j < size)[None, :])


@no_type_check
@triton.jit(do_not_specialize=["rows"])
def run_backward_trunk(
    planes, points, first, first_bias, inner, inner_bias, outer, outer_bias, grads,
    by_planes, by_points, by_hidden, rows, features, channels, columns, width,
    SIZES: tl.constexpr, STARTS: tl.constexpr, HEADS: tl.constexpr, WITH_POINTS: tl.constexpr,
    FEATURES: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of planes, points, and the trunk's numbers [M, w], written. Grid: blocks of rows."""
    k, f, c = tl.arange(0, WIDTH), tl.arange(0, FEATURES), tl.arange(0, CHANNELS)
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = (m < rows)[:, None]
    hidden = _trunk(
        planes, points, first, first_bias, m, rows, features, channels, columns, width,
        WITH_POINTS, FEATURES, CHANNELS, WIDTH, PRECISION,
    )  # fmt: skip
    hidden = tl.maximum(hidden, 0.0)
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    for head in range(HEADS):
        size = (SIZES >> (4 * head)) & 15
        start = (STARTS >> (4 * head)) & 15
        middle = _inner(hidden, inner, inner_bias, head, width, WIDTH, PRECISION)
        _, by_middle = _middle_gradient(middle, grads, outer, m, rows, start, size, width, WIDTH, PRECISION)
        total += tl.dot(by_middle, _square(inner, head, width, WIDTH), input_precision=PRECISION)
    total = tl.where((hidden > 0.0) & is_row, total, 0.0)
    tl.store(by_hidden + m[:, None] * width + k[None, :], total, mask=is_row & (k < width)[None, :])
    is_inside = (k < width)[:, None] & (f < features)[None, :]
    weights = tl.load(first + k[:, None] * columns + f[None, :], mask=is_inside, other=0.0)
    result = tl.dot(total, weights, input_precision=PRECISION)
    tl.store(by_planes + m[:, None] * features + f[None, :], result, mask=is_row & (f < features)[None, :])
    if WITH_POINTS:
        is_inside = (k < width)[:, None] & (c < channels)[None, :]
        weights = tl.load(first + k[:, None] * columns + features + c[None, :], mask=is_inside, other=0.0)
        result = tl.dot(total, weights, input_precision=PRECISION)
        tl.store(by_points + m[:, None] * channels + c[None, :], result, mask=is_row & (c < channels)[None, :])


@no_type_check
@triton.jit(do_not_specialize=["rows"])
def run_backward_heads(
    planes, points, first, first_bias, inner, inner_bias, outer, outer_bias, grads,
    by_inner, by_inner_bias, by_outer, by_outer_bias, rows, features, channels, columns, width,
    SIZES: tl.constexpr, STARTS: tl.constexpr, HEADS: tl.constexpr, WITH_POINTS: tl.constexpr,
    FEATURES: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of the heads' weights, added to. Grid: programs that share the rows; heads."""
    head = tl.program_id(1)
    size, start = 0, 0
    for i in tl.static_range(HEADS):
        size = tl.where(head == i, (SIZES >> (4 * i)) & 15, size)
        start = tl.where(head == i, (STARTS >> (4 * i)) & 15, start)
    j, k = tl.arange(0, _LAST), tl.arange(0, WIDTH)
    sum_inner, sum_outer = tl.zeros((WIDTH, WIDTH), tl.float32), tl.zeros((_LAST, WIDTH), tl.float32)
    sum_inner_bias, sum_outer_bias = tl.zeros((WIDTH,), tl.float32), tl.zeros((_LAST,), tl.float32)
    begin = tl.program_id(0) * ROWS
    while begin < rows:
        m = begin + tl.arange(0, ROWS)
        hidden = _trunk(
            planes, points, first, first_bias, m, rows, features, channels, columns, width,
            WITH_POINTS, FEATURES, CHANNELS, WIDTH, PRECISION,
        )  # fmt: skip
        hidden = tl.maximum(hidden, 0.0)
        middle = _inner(hidden, inner, inner_bias, head, width, WIDTH, PRECISION)
        grad, by_middle = _middle_gradient(middle, grads, outer, m, rows, start, size, width, WIDTH, PRECISION)
        sum_inner += tl.dot(tl.trans(by_middle), hidden, input_precision=PRECISION)
        sum_inner_bias += tl.sum(by_middle, 0)
        sum_outer += tl.dot(tl.trans(grad), tl.maximum(middle, 0.0), input_precision=PRECISION)
        sum_outer_bias += tl.sum(grad, 0)
        begin += tl.num_programs(0) * ROWS
    is_width = k < width
    at = head * width * width + k[:, None] * width + k[None, :]
    tl.atomic_add(by_inner + at, sum_inner, mask=is_width[:, None] & is_width[None, :], sem="relaxed")
    tl.atomic_add(by_inner_bias + head * width + k, sum_inner_bias, mask=is_width, sem="relaxed")
    at = (start + j)[:, None] * width + k[None, :]
    tl.atomic_add(by_outer + at, sum_outer, mask=(j < size)[:, None] & is_width[None, :], sem="relaxed")
    tl.atomic_add(by_outer_bias + start + j, sum_outer_bias, mask=j < size, sem="relaxed")


@no_type_check
@triton.jit
def _trunk(
    planes, points, first, first_bias, m, rows, features, channels, columns, width,
    WITH_POINTS: tl.constexpr, FEATURES: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The linear map of both features [ROWS, WIDTH]."""
    k, f, c = tl.arange(0, WIDTH), tl.arange(0, FEATURES), tl.arange(0, CHANNELS)
    is_row = (m < rows)[:, None]
    read_planes = tl.load(planes + m[:, None] * features + f[None, :], mask=is_row & (f < features)[None, :], other=0.0)
    is_inside = (f < features)[:, None] & (k < width)[None, :]
    weights = tl.load(first + k[None, :] * columns + f[:, None], mask=is_inside, other=0.0)
    hidden = tl.dot(read_planes, weights, input_precision=PRECISION)
    if WITH_POINTS:
        is_inside = is_row & (c < channels)[None, :]
        read_points = tl.load(points + m[:, None] * channels + c[None, :], mask=is_inside, other=0.0)
        is_inside = (c < channels)[:, None] & (k < width)[None, :]
        weights = tl.load(first + k[None, :] * columns + features + c[:, None], mask=is_inside, other=0.0)
        hidden += tl.dot(read_points, weights, input_precision=PRECISION)
    return hidden + tl.load(first_bias + k, mask=k < width, other=0.0)[None, :]


@no_type_check
@triton.jit
def _square(inner, head, width, WIDTH: tl.constexpr):
    """The weights of a head's inner layer [outputs, inputs]."""
    k = tl.arange(0, WIDTH)
    is_inside = (k < width)[:, None] & (k < width)[None, :]
    return tl.load(inner + head * width * width + k[:, None] * width + k[None, :], mask=is_inside, other=0.0)


@no_type_check
@triton.jit
def _inner(active, inner, inner_bias, head, width, WIDTH: tl.constexpr, PRECISION: tl.constexpr):
    """A head's inner layer, before its ReLU."""
    k = tl.arange(0, WIDTH)
    middle = tl.dot(active, tl.trans(_square(inner, head, width, WIDTH)), input_precision=PRECISION)
    return middle + tl.load(inner_bias + head * width + k, mask=k < width, other=0.0)[None, :]


@no_type_check
@triton.jit
def _outer(outer, start, size, width, WIDTH: tl.constexpr):
    """The weights of a head's outer layer [numbers, WIDTH]."""
    j, k = tl.arange(0, _LAST), tl.arange(0, WIDTH)
    is_inside = (j < size)[:, None] & (k < width)[None, :]
    return tl.load(outer + (start + j)[:, None] * width + k[None, :], mask=is_inside, other=0.0)


@no_type_check
@triton.jit
def _middle_gradient(
    middle, grads, outer, m, rows, start, size, width, WIDTH: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """The gradients of a head's numbers, and those of its inner layer before the ReLU."""
    j = tl.arange(0, _LAST)
    at = grads + rows * start + m[:, None] * size + j[None, :]
    grad = tl.load(at, mask=(m < rows)[:, None] & (j < size)[None, :], other=0.0)
    by_middle = tl.dot(grad, _outer(outer, start, size, width, WIDTH), input_precision=PRECISION)
    return grad, tl.where(middle > 0.0, by_middle, 0.0)
