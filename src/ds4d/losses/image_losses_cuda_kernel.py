"""Losses of images and their gradients on a GPU; importing this module imports Triton.

Letters in shapes: B images, P = 3 B planes of color, H W pixels, h w the places where the window of SSIM fits. Images
are given with their strides. Four maps of a plane are blurred: the sum and the difference of the two images, and their
squares (see `ds4d.metrics.ssim`).
"""

from typing import no_type_check

import triton
import triton.language as tl

from ds4d.metrics.ssim import C1, C2

_C1, _C2 = tl.constexpr(C1), tl.constexpr(C2)


@no_type_check
@triton.jit
def sum_pixels(
    colors, alphas, target_colors, target_alphas, weights, sums, images, height, width,
    c_b, c_c, c_y, c_x, a_b, a_y, a_x, t_b, t_c, t_y, t_x, m_b, m_y, m_x, w_b, w_y, w_x, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums of an image's pixels: weighted absolute and squared errors of color, squared errors of opacity, and weights.

    Grid: blocks of pixels; images. `sums` [4, B, blocks] is written.
    """
    block, b = tl.program_id(0), tl.program_id(1)
    i = block * BLOCK + tl.arange(0, BLOCK)
    is_inside = i < height * width
    y, x = i // width, i % width
    weight = tl.load(weights + b * w_b + y * w_y + x * w_x, mask=is_inside, other=0.0)
    absolute, squared = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for c in tl.static_range(3):
        found = tl.load(colors + b * c_b + c * c_c + y * c_y + x * c_x, mask=is_inside, other=0.0)
        wanted = tl.load(target_colors + b * t_b + c * t_c + y * t_y + x * t_x, mask=is_inside, other=0.0)
        error = found - wanted
        absolute += tl.abs(error)
        squared += error * error
    found = tl.load(alphas + b * a_b + y * a_y + x * a_x, mask=is_inside, other=0.0)
    error = found - tl.load(target_alphas + b * m_b + y * m_y + x * m_x, mask=is_inside, other=0.0)
    blocks = tl.num_programs(0)
    at = sums + b * blocks + block
    tl.store(at, tl.sum(absolute * weight, 0))
    tl.store(at + images * blocks, tl.sum(squared * weight, 0))
    tl.store(at + 2 * images * blocks, tl.sum(error * error * weight, 0))
    tl.store(at + 3 * images * blocks, tl.sum(weight, 0))


@no_type_check
@triton.jit
def blur_rows(
    colors, target_colors, window, blurred, height, inside_y, inside_x,
    c_b, c_c, c_y, c_x, t_b, t_c, t_y, t_x, ROWS: tl.constexpr, COLUMNS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """Blurs the four maps along the rows into `blurred` [4, P, H, w]. Grid: tiles of H x w; planes."""
    plane, planes = tl.program_id(1), tl.num_programs(1)
    y, x = _tile(tl.program_id(0), inside_x, ROWS, COLUMNS)
    is_inside = (y < height) & (x < inside_x)
    b, c = plane // 3, plane % 3
    at = colors + b * c_b + c * c_c + y * c_y + x * c_x
    target = target_colors + b * t_b + c * t_c + y * t_y + x * t_x
    total, difference = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    square_total, square_difference = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in tl.static_range(TAPS):
        share = tl.load(window + k)
        first = tl.load(at + k * c_x, mask=is_inside, other=0.0)
        second = tl.load(target + k * t_x, mask=is_inside, other=0.0)
        s, d = first + second, first - second
        total += share * s
        difference += share * d
        square_total += share * (s * s)
        square_difference += share * (d * d)
    size = planes * height * inside_x
    out = blurred + (plane * height + y) * inside_x + x
    tl.store(out, total, mask=is_inside)
    tl.store(out + size, difference, mask=is_inside)
    tl.store(out + 2 * size, square_total, mask=is_inside)
    tl.store(out + 3 * size, square_difference, mask=is_inside)


@no_type_check
@triton.jit
def score(
    blurred, window, scores, slopes, height, inside_y, inside_x,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """Blurs along the columns; the sum of each tile's SSIM, and its gradients in the four blurred maps.

    Grid: tiles of h x w; planes. `scores` [P, tiles] and `slopes` [4, P, h, w] are written.
    """
    tile, plane, planes = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    y, x = _tile(tile, inside_x, ROWS, COLUMNS)
    is_inside = (y < inside_y) & (x < inside_x)
    size = planes * height * inside_x
    at = blurred + (plane * height + y) * inside_x + x
    mean_total, mean_difference = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    square_total, square_difference = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in tl.static_range(TAPS):
        share = tl.load(window + k)
        mean_total += share * tl.load(at + k * inside_x, mask=is_inside, other=0.0)
        mean_difference += share * tl.load(at + size + k * inside_x, mask=is_inside, other=0.0)
        square_total += share * tl.load(at + 2 * size + k * inside_x, mask=is_inside, other=0.0)
        square_difference += share * tl.load(at + 3 * size + k * inside_x, mask=is_inside, other=0.0)
    bias, energy = mean_difference * mean_difference, mean_total * mean_total
    noise, signal = square_difference - bias, square_total - energy
    brightness, contrast = 0.5 * (energy + bias) + _C1, 0.5 * (signal + noise) + _C2
    luminance, structure = 1.0 - bias / brightness, 1.0 - noise / contrast
    value = tl.where(is_inside, luminance * structure, 0.0)
    tl.store(scores + plane * tl.num_programs(0) + tile, tl.sum(tl.sum(value, 1), 0))
    by_luminance, by_structure = structure / brightness, luminance / contrast
    by_noise = by_structure * (0.5 * noise / contrast - 1.0)
    by_signal = by_structure * 0.5 * noise / contrast
    by_bias = by_luminance * (0.5 * bias / brightness - 1.0) - by_noise
    by_energy = by_luminance * 0.5 * bias / brightness - by_signal
    size = planes * inside_y * inside_x
    out = slopes + (plane * inside_y + y) * inside_x + x
    tl.store(out, 2.0 * mean_total * by_energy, mask=is_inside)
    tl.store(out + size, 2.0 * mean_difference * by_bias, mask=is_inside)
    tl.store(out + 2 * size, by_signal, mask=is_inside)
    tl.store(out + 3 * size, by_noise, mask=is_inside)


@no_type_check
@triton.jit(do_not_specialize_on_alignment=["views"])  # a row of a table
def finish(
    sums, scores, views, values, factors, l1, mse, ssim, mask, images, per_pixel, per_place,
    L1_VIEWS: tl.constexpr, MSE_VIEWS: tl.constexpr, SSIM_VIEWS: tl.constexpr, MASK_VIEWS: tl.constexpr,
    PIXEL_BLOCKS: tl.constexpr, BLOCKS: tl.constexpr, IMAGES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The losses, their weighted sum, and what a pixel's error counts in each of them. One program.

    Reads what `sum_pixels` and `score` wrote, and the weights of the losses. Writes `values` [5], the sum after the
    losses, and `factors` [4, B]. `per_pixel` is 1 / (H W), `per_place` 1 / (3 h w).
    """
    b = tl.arange(0, IMAGES)
    is_image = b < images
    view = tl.load(views + b, mask=is_image, other=-1)
    absolute = _sum_blocks(sums, b, is_image, PIXEL_BLOCKS, IMAGES, CHUNK) * per_pixel / 3.0
    squared = _sum_blocks(sums + images * PIXEL_BLOCKS, b, is_image, PIXEL_BLOCKS, IMAGES, CHUNK) * per_pixel / 3.0
    opacity = _sum_blocks(sums + 2 * images * PIXEL_BLOCKS, b, is_image, PIXEL_BLOCKS, IMAGES, CHUNK) * per_pixel
    weight = _sum_blocks(sums + 3 * images * PIXEL_BLOCKS, b, is_image, PIXEL_BLOCKS, IMAGES, CHUNK) * per_pixel
    similarity = _sum_blocks(scores, b, is_image, 3 * BLOCKS, IMAGES, CHUNK) * per_place
    total, share = _finish_one(values, view, is_image, absolute, l1, L1_VIEWS)
    tl.store(factors + b, share * per_pixel / 3.0, mask=is_image)
    part, share = _finish_one(values + 1, view, is_image, squared, mse, MSE_VIEWS)
    total += part
    tl.store(factors + images + b, share * 2.0 * per_pixel / 3.0, mask=is_image)
    part, share = _finish_one(values + 2, view, is_image, (1.0 - similarity) * weight, ssim, SSIM_VIEWS)
    total += part
    tl.store(factors + 2 * images + b, -share * weight * per_place, mask=is_image)
    part, share = _finish_one(values + 3, view, is_image, opacity, mask, MASK_VIEWS)
    total += part
    tl.store(factors + 3 * images + b, share * 2.0 * per_pixel, mask=is_image)
    tl.store(values + 4, total)


@no_type_check
@triton.jit
def spread_columns(
    slopes, window, spread, height, inside_y, inside_x,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """The gradients [4, P, H, w] of what `score` blurred. Grid: tiles of H x w; planes."""
    plane, planes = tl.program_id(1), tl.num_programs(1)
    y, x = _tile(tl.program_id(0), inside_x, ROWS, COLUMNS)
    is_inside = (y < height) & (x < inside_x)
    size = planes * inside_y * inside_x
    at = slopes + (plane * inside_y + y) * inside_x + x
    out = spread + (plane * height + y) * inside_x + x
    for m in tl.static_range(4):
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for k in tl.static_range(TAPS):
            is_read = is_inside & (y >= k) & (y < inside_y + k)
            total += tl.load(window + k) * tl.load(at + m * size - k * inside_x, mask=is_read, other=0.0)
        tl.store(out + m * planes * height * inside_x, total, mask=is_inside)


@no_type_check
@triton.jit
def gather_gradients(
    colors, alphas, target_colors, target_alphas, weights, window, spread, factors, grad, by_colors, by_alphas,
    images, height, width, inside_x,
    c_b, c_c, c_y, c_x, a_b, a_y, a_x, t_b, t_c, t_y, t_x, m_b, m_y, m_x, w_b, w_y, w_x,
    d_b, d_c, d_y, d_x, e_b, e_y, e_x,
    WITH_SSIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """The gradients of colors and opacities, both written. Grid: tiles of H x W; planes."""
    plane, planes = tl.program_id(1), tl.num_programs(1)
    y, x = _tile(tl.program_id(0), width, ROWS, COLUMNS)
    is_inside = (y < height) & (x < width)
    b, c = plane // 3, plane % 3
    scale = tl.load(grad)
    weight = scale * tl.load(weights + b * w_b + y * w_y + x * w_x, mask=is_inside, other=0.0)
    found = tl.load(colors + b * c_b + c * c_c + y * c_y + x * c_x, mask=is_inside, other=0.0)
    wanted = tl.load(target_colors + b * t_b + c * t_c + y * t_y + x * t_x, mask=is_inside, other=0.0)
    error = found - wanted
    sign = tl.where(error > 0.0, 1.0, tl.where(error < 0.0, -1.0, 0.0))
    result = weight * (tl.load(factors + b) * sign + tl.load(factors + images + b) * error)
    if WITH_SSIM:
        size = planes * height * inside_x
        at = spread + (plane * height + y) * inside_x + x
        by_total, by_difference = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
        by_square, by_noise = tl.zeros((ROWS, COLUMNS), tl.float32), tl.zeros((ROWS, COLUMNS), tl.float32)
        for k in tl.static_range(TAPS):
            share = tl.load(window + k)
            is_read = is_inside & (x >= k) & (x < inside_x + k)
            by_total += share * tl.load(at - k, mask=is_read, other=0.0)
            by_difference += share * tl.load(at + size - k, mask=is_read, other=0.0)
            by_square += share * tl.load(at + 2 * size - k, mask=is_read, other=0.0)
            by_noise += share * tl.load(at + 3 * size - k, mask=is_read, other=0.0)
        by_total += 2.0 * (found + wanted) * by_square
        by_difference += 2.0 * error * by_noise
        result += scale * tl.load(factors + 2 * images + b) * (by_total + by_difference)
    tl.store(by_colors + b * d_b + c * d_c + y * d_y + x * d_x, result, mask=is_inside)
    is_first = is_inside & (c == 0)
    found = tl.load(alphas + b * a_b + y * a_y + x * a_x, mask=is_first, other=0.0)
    error = found - tl.load(target_alphas + b * m_b + y * m_y + x * m_x, mask=is_first, other=0.0)
    result = weight * tl.load(factors + 3 * images + b) * error
    tl.store(by_alphas + b * e_b + y * e_y + x * e_x, result, mask=is_first)


@no_type_check
@triton.jit
def _tile(index, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Rows [ROWS, 1] and columns [1, COLUMNS] of a tile of an image."""
    across = (width + COLUMNS - 1) // COLUMNS
    y = index // across * ROWS + tl.arange(0, ROWS)
    x = index % across * COLUMNS + tl.arange(0, COLUMNS)
    return y[:, None], x[None, :]


@no_type_check
@triton.jit
def _sum_blocks(sums, b, is_image, BLOCKS: tl.constexpr, IMAGES: tl.constexpr, CHUNK: tl.constexpr):
    """Sums over the blocks of every image; `sums` [B, BLOCKS]."""
    total = tl.zeros((IMAGES,), tl.float32)
    for begin in range(0, BLOCKS, CHUNK):
        i = begin + tl.arange(0, CHUNK)
        is_inside = is_image[:, None] & (i < BLOCKS)[None, :]
        total += tl.sum(tl.load(sums + b[:, None] * BLOCKS + i[None, :], mask=is_inside, other=0.0), 1)
    return total


@no_type_check
@triton.jit
def _finish_one(value, view, is_image, per_image, weight, VIEWS: tl.constexpr):
    """Writes the mean over the chosen images; returns the weighted mean and each image's share in it.

    VIEWS: -1 none, 0 all, 1 the input view, 2 the others.
    """
    if VIEWS == 0:
        chosen = tl.where(is_image, 1.0, 0.0)
    elif VIEWS == 1:
        chosen = tl.where(is_image & (view == 0), 1.0, 0.0)
    elif VIEWS == 2:
        chosen = tl.where(is_image & (view != 0), 1.0, 0.0)
    else:
        chosen = tl.where(is_image, 0.0, 0.0)
    share = chosen / tl.maximum(tl.sum(chosen, 0), 1.0)
    mean = tl.sum(tl.where(chosen > 0.0, per_image * share, 0.0), 0)
    tl.store(value, mean)
    return weight * mean, weight * share
