"""Alpha compositing of binned Gaussians, tile by tile, forward and backward.

The pixels of a tile are in one flat scratch array, one plane per quantity, and each Gaussian updates the rows that it
covers in one loop. The compiler vectorizes this loop because all planes are in one array, so that none can overlap, and
because indices are unsigned, so that none can count from the end. Every literal is a float32, as numba computes with
Python's numbers in float64.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, ZERO, kernel
from ds4d.rendering.settings import ALPHA_CUT, MAX_ALPHA, MIN_TRANSMITTANCE

# A row of a tile is 8 pixels, as narrow as vectors allow, so that few lanes are outside a small Gaussian; rows are
# processed in pairs, which fill the widest vectors (16 floats).
TILE_WIDTH, TILE_HEIGHT = 8, 32
_WIDTH, _ROW_STEP, _UNIT = np.uint64(TILE_WIDTH), np.uint64(2), np.uint64(1)
_PIXELS = np.uint64(TILE_WIDTH * TILE_HEIGHT)

_ALPHA_CUT = np.float32(ALPHA_CUT)
_MAX_ALPHA = np.float32(MAX_ALPHA)
_MIN_TRANSMITTANCE = np.float32(MIN_TRANSMITTANCE)
_TINY = np.float32(1e-10)
# exp(-5.6) < 1/255: larger exponents are below the alpha threshold anyway.
_MAX_SIGMA = np.float32(5.6)
_EIGHTH = np.float32(1 / 8)
# exp(-t) for 0 <= t <= 0.7 by a polynomial of least relative error, 9e-8, with value 1 at 0.
_E1, _E2, _E3 = np.float32(-0.9999947547912598), np.float32(0.4998997747898102), np.float32(-0.16602839529514313)
_E4, _E5 = np.float32(0.03984830155968666), np.float32(-0.00588524853810668)

# Planes of the scratch array: pixel centers within the tile, transmittance (negative once the pixel is finished, so
# that it never reaches the minimum again), number of the last Gaussian blended, color and depth or their gradients.
_X, _Y, _T, _LAST, _R, _G, _B, _D, _BEHIND = (np.uint64(k) * _PIXELS for k in range(9))
_SCRATCH = 9 * TILE_WIDTH * TILE_HEIGHT
_CENTERS = np.stack(np.meshgrid(np.arange(TILE_WIDTH), np.arange(TILE_HEIGHT))).astype(np.float32).ravel() + HALF
_CHECK_EVERY = 16  # Gaussians between checks whether all pixels of the tile are finished
SLOT = 10  # per slot: gradients of mean x, y; conic a, b, c; opacity; color r, g, b; depth


@no_type_check
@kernel()
def _exp_minus(sigma):
    """exp(-sigma) for 0 <= sigma <= 5.6 to 2e-6, constant beyond: the eighth power of exp(-sigma / 8)."""
    t = min(sigma, _MAX_SIGMA) * _EIGHTH
    p = ((((_E5 * t + _E4) * t + _E3) * t + _E2) * t + _E1) * t + ONE
    p = p * p
    p = p * p
    return p * p


@no_type_check
@kernel()
def _blend(pixels, left, top, start, end, record, number):
    """Blends one Gaussian into the pixels start..end of the tile."""
    x, y, b, opacity = record[0] - np.float32(left), record[1] - np.float32(top), record[3], record[5]
    half_a, half_c = HALF * record[2], HALF * record[4]
    red, green, blue, depth = record[6], record[7], record[8], record[9]
    for k in range(start, end):
        dx = x - pixels[_X + k]
        dy = y - pixels[_Y + k]
        sigma = (half_a * dx + b * dy) * dx + half_c * dy * dy
        alpha = min(_MAX_ALPHA, opacity * _exp_minus(sigma))
        before = pixels[_T + k]
        after = before * (ONE - alpha)
        hit = (sigma >= ZERO) & (alpha >= _ALPHA_CUT)
        taken = hit & (after > _MIN_TRANSMITTANCE)
        weight = alpha * before if taken else ZERO
        pixels[_R + k] += weight * red
        pixels[_G + k] += weight * green
        pixels[_B + k] += weight * blue
        pixels[_D + k] += weight * depth
        pixels[_T + k] = after if taken else (-abs(before) if hit else before)
        pixels[_LAST + k] = number if taken else pixels[_LAST + k]


@no_type_check
@kernel()
def _all_finished(pixels):
    largest = -ONE
    for k in range(_PIXELS):
        largest = max(largest, pixels[_T + k])
    return largest <= ZERO


@no_type_check
@kernel()
def _unblend(pixels, left, top, start, end, record, number, out):
    """Undoes the blending of one Gaussian in the pixels start..end of the tile; writes its gradients to `out` [SLOT].

    The plane _BEHIND holds the gradient of the transmitted light; each Gaussian, back to front, blends its own over it.
    """
    x, y, a, b, c, opacity = (
        record[0] - np.float32(left),
        record[1] - np.float32(top),
        record[2],
        record[3],
        record[4],
        record[5],
    )
    half_a, half_c = HALF * a, HALF * c
    red, green, blue, depth = record[6], record[7], record[8], record[9]
    d_red = d_green = d_blue = d_depth = ZERO
    moment = moment_x = moment_y = moment_xx = moment_xy = moment_yy = ZERO
    for k in range(start, end):
        dx = x - pixels[_X + k]
        dy = y - pixels[_Y + k]
        sigma = (half_a * dx + b * dy) * dx + half_c * dy * dy
        full = opacity * _exp_minus(sigma)
        alpha = min(_MAX_ALPHA, full)
        taken = (sigma >= ZERO) & (alpha >= _ALPHA_CUT) & (pixels[_LAST + k] >= number)
        alpha = alpha if taken else ZERO
        before = pixels[_T + k] / (ONE - alpha)
        pixels[_T + k] = before
        weight = alpha * before
        d_red += weight * pixels[_R + k]
        d_green += weight * pixels[_G + k]
        d_blue += weight * pixels[_B + k]
        d_depth += weight * pixels[_D + k]
        own = red * pixels[_R + k] + green * pixels[_G + k] + blue * pixels[_B + k] + depth * pixels[_D + k]
        gain = own - pixels[_BEHIND + k]
        pixels[_BEHIND + k] += alpha * gain
        by_sigma = weight * gain if full <= _MAX_ALPHA else ZERO  # -dL/dsigma; capped alpha has no gradient
        by_sigma_x, by_sigma_y = by_sigma * dx, by_sigma * dy
        moment += by_sigma
        moment_x += by_sigma_x
        moment_y += by_sigma_y
        moment_xx += by_sigma_x * dx
        moment_xy += by_sigma_x * dy
        moment_yy += by_sigma_y * dy
    out[0] = -(a * moment_x + b * moment_y)
    out[1] = -(b * moment_x + c * moment_y)
    out[2] = -HALF * moment_xx
    out[3] = -moment_xy
    out[4] = -HALF * moment_yy
    out[5] = moment / opacity
    out[6], out[7], out[8], out[9] = d_red, d_green, d_blue, d_depth


@no_type_check
@kernel()
def _store(pixels, plane, left, top, image):
    """Copies a plane to its pixels of `image`; those outside are dropped."""
    for row in range(min(TILE_HEIGHT, image.shape[0] - top)):
        line = image[top + row, left:]
        start = plane + np.uint64(row) * _WIDTH
        for column in range(np.uint64(min(TILE_WIDTH, len(line)))):
            line[column] = pixels[start + column]


@no_type_check
@kernel()
def _load(pixels, plane, left, top, image):
    """Copies the tile's pixels of `image` to a plane; those outside are left unchanged."""
    for row in range(min(TILE_HEIGHT, image.shape[0] - top)):
        line = image[top + row, left:]
        start = plane + np.uint64(row) * _WIDTH
        for column in range(np.uint64(min(TILE_WIDTH, len(line)))):
            pixels[start + column] = line[column]


@no_type_check
@kernel()
def _rows_of(rows, slot):
    """First and one past the last pixel of the rows of a slot, widened to whole steps."""
    first, end = np.uint64(rows[slot, 0]), np.uint64(rows[slot, 1])
    return first // _ROW_STEP * _ROW_STEP * _WIDTH, (end + _ROW_STEP - _UNIT) // _ROW_STEP * _ROW_STEP * _WIDTH


@no_type_check
@kernel()
def _write_centers(pixels):
    """Writes x and y of the pixels."""
    for k in range(_T):
        pixels[k] = _CENTERS[k]


@no_type_check
@kernel()
def _composite_tile(left, top, records, ranks, rows, entries, background, colors, alphas, depths, transmittances, last):
    """One tile of one image."""
    pixels = np.zeros(_SCRATCH, np.float32)
    _write_centers(pixels)
    pixels[_T : _T + _PIXELS] = ONE
    for number in range(len(entries)):
        if number % _CHECK_EVERY == 0 and _all_finished(pixels):
            break
        slot = entries[number]
        start, end = _rows_of(rows, slot)
        _blend(pixels, left, top, start, end, records[ranks[slot]], np.float32(number + 1))

    for k in range(_PIXELS):
        t = abs(pixels[_T + k])
        alpha = ONE - t
        pixels[_T + k] = t
        pixels[_X + k] = alpha
        pixels[_D + k] /= max(alpha, _TINY)
        pixels[_R + k] += t * background[0]
        pixels[_G + k] += t * background[1]
        pixels[_B + k] += t * background[2]
    _store(pixels, _R, left, top, colors[0])
    _store(pixels, _G, left, top, colors[1])
    _store(pixels, _B, left, top, colors[2])
    _store(pixels, _X, left, top, alphas)
    _store(pixels, _D, left, top, depths)
    _store(pixels, _T, left, top, transmittances)
    _store(pixels, _LAST, left, top, last)


@no_type_check
@kernel(fast_math=False)
def composite(
    first, end, records, ranks, rows, entries, tiles, backgrounds, colors, alphas, depths, transmittances, last
):
    """Fills colors [I,3,H,W], alphas, expected depths, transmittances and last [I,H,W] from the lists of `bin_tiles`.

    `last` is the number of each pixel's last Gaussian in its tile's list, from 1. backgrounds are [I,3].
    Items: I * tiles.
    """
    images = len(tiles)
    across = (alphas.shape[2] + TILE_WIDTH - 1) // TILE_WIDTH
    for item in range(first, end):
        i, tile = item % images, item // images
        left, top = tile % across * TILE_WIDTH, tile // across * TILE_HEIGHT
        _composite_tile(
            left, top, records[i], ranks, rows, entries[tiles[i, tile] : tiles[i, tile + 1]], backgrounds[i],
            colors[i], alphas[i], depths[i], transmittances[i], last[i],
        )  # fmt: skip


@no_type_check
@kernel()
def _composite_tile_backward(
    left, top, records, ranks, rows, entries, background, alphas, depths, transmittances, last,
    d_colors, d_alphas, d_depths, gradients,
):  # fmt: skip
    """One tile of one image."""
    if len(entries) == 0:
        return
    pixels = np.zeros(_SCRATCH, np.float32)
    _load(pixels, _X, left, top, alphas)
    _load(pixels, _Y, left, top, depths)
    _load(pixels, _T, left, top, transmittances)
    _load(pixels, _LAST, left, top, last)
    _load(pixels, _R, left, top, d_colors[0])
    _load(pixels, _G, left, top, d_colors[1])
    _load(pixels, _B, left, top, d_colors[2])
    _load(pixels, _D, left, top, d_depths)
    _load(pixels, _BEHIND, left, top, d_alphas)
    deepest = ZERO
    for k in range(_PIXELS):
        pixels[_D + k] /= max(pixels[_X + k], _TINY)
        composited = background[0] * pixels[_R + k] + background[1] * pixels[_G + k] + background[2] * pixels[_B + k]
        pixels[_BEHIND + k] = composited + pixels[_D + k] * pixels[_Y + k] - pixels[_BEHIND + k]
        deepest = max(deepest, pixels[_LAST + k])
    _write_centers(pixels)
    for number in range(int(deepest), len(entries)):
        gradients[entries[number]] = 0
    for number in range(int(deepest) - 1, -1, -1):
        slot = entries[number]
        start, end = _rows_of(rows, slot)
        _unblend(pixels, left, top, start, end, records[ranks[slot]], np.float32(number + 1), gradients[slot])


@no_type_check
@kernel(fast_math=False)
def composite_backward(
    first, end, records, ranks, rows, entries, tiles, backgrounds, alphas, depths, transmittances, last,
    d_colors, d_alphas, d_depths, gradients,
):  # fmt: skip
    """Fills gradients [pairs,SLOT] from those of colors, alphas and expected depths. Items: I * tiles.

    Runs back to front: dividing the final transmittance by 1 - alpha gives the previous one.
    """
    images = len(tiles)
    across = (alphas.shape[2] + TILE_WIDTH - 1) // TILE_WIDTH
    for item in range(first, end):
        i, tile = item % images, item // images
        left, top = tile % across * TILE_WIDTH, tile // across * TILE_HEIGHT
        _composite_tile_backward(
            left, top, records[i], ranks, rows, entries[tiles[i, tile] : tiles[i, tile + 1]], backgrounds[i],
            alphas[i], depths[i], transmittances[i], last[i], d_colors[i], d_alphas[i], d_depths[i], gradients,
        )  # fmt: skip


@no_type_check
@kernel(fast_math=False)
def _sum_image(gradients, slots, order, d_means2d, d_conics, d_opacities, d_colors, d_depths):
    """One image of `sum_slots`."""
    d_means2d[:] = 0
    d_conics[:] = 0
    d_opacities[:] = 0
    d_colors[:] = 0
    d_depths[:] = 0
    for r in range(len(order)):
        n = order[r]
        for slot in range(slots[r], slots[r + 1]):
            row = gradients[slot]
            for k in range(2):
                d_means2d[n, k] += row[k]
            for k in range(3):
                d_conics[n, k] += row[2 + k]
                d_colors[n, k] += row[6 + k]
            d_opacities[n] += row[5]
            d_depths[n] += row[9]


@no_type_check
@kernel(fast_math=False)
def sum_slots(first, end, gradients, slots, order, visible, d_means2d, d_conics, d_opacities, d_colors, d_depths):
    """Fills d_means2d [I,N,2], d_conics [I,N,3], ..., d_depths [I,N]: sums over each Gaussian's slots. Items: I."""
    for i in range(first, end):
        _sum_image(
            gradients,
            slots[i],
            order[i, : visible[i]],
            d_means2d[i],
            d_conics[i],
            d_opacities[i],
            d_colors[i],
            d_depths[i],
        )
