"""Warps and color gains of rendered images, and their gradients, on the CPU: a few passes over the rows of each image.

Warps are smooth, so neighboring pixels nearly always read neighboring pixels. A row is taken in runs in which all
pixels read at the same offset: there, memory is read and written in order, many pixels at once. Compiled by numba at
the first use and kept on disk; importing this module imports numba. Letters in shapes: B images, g control points.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, TWO, ZERO, kernel

_UNIT = np.uint64(1)  # indices are unsigned: none can count from the end, so that loops use vector registers


@no_type_check
@kernel()
def correct(first, end, images, is_corrected, backgrounds, gains, warps, rows, columns, out):
    """Images as their views show them. Items: images.

    Args:
        first: index of the first image.
        end: index after the last image.
        images: colors over the backgrounds and opacities [B, 4, H, W], float32, at least 2 pixels wide and high.
        is_corrected: 1 where an image is corrected, 0 where it is copied [B].
        backgrounds: colors [B, 3].
        gains: factors [B, 3] on the colors of the object.
        warps: displacements [B, 2, g, g] along x and y of what is read, half image sizes.
        rows: weights [H, g] of the control points along y.
        columns: weights [g, W] of the control points along x.
        out: [B, 4, H, W], written.
    """
    height, width = images.shape[2:]
    pixels, corrected, step = images.reshape(-1), out.reshape(-1), np.uint64(width)
    cells, to_right, to_lower = np.empty((2, width), np.int64), np.empty(width, np.float32), np.empty(width, np.float32)
    for b in range(first, end):
        if is_corrected[b] == ZERO:
            _copy(images[b].reshape(-1), out[b].reshape(-1))
            continue
        for y in range(height):
            _locate(warps[b], rows[y], columns, y, height, cells, to_right, to_lower)
            start = 0
            while start < width:
                stop = _end_of_run(cells, start)
                column, row = cells[0, start], cells[1, start]
                run = np.uint64(start), np.uint64(stop)
                for c in range(4):
                    plane = (b * 4 + c) * height
                    source = np.uint64((plane + row) * width + column - start)
                    target = np.uint64((plane + y) * width)
                    _read(pixels, source, step, to_right, to_lower, run, corrected, target)
                start = stop
            for c in range(3):
                gain, rest = gains[b, c], backgrounds[b, c] * (ONE - gains[b, c])
                colors, alphas = out[b, c, y], out[b, 3, y]
                for x in range(width):
                    colors[x] = gain * colors[x] + (ONE - alphas[x]) * rest


@no_type_check
@kernel()
def correct_backward(
    first, end, images, is_corrected, backgrounds, gains, warps, rows, columns, out,
    grads, by_images, by_gains, by_warps,
):  # fmt: skip
    """Gradients of `correct`. Items: images.

    Args:
        first: index of the first image.
        end: index after the last image.
        images: as given to `correct`, like the arguments that follow.
        is_corrected: likewise.
        backgrounds: likewise.
        gains: likewise.
        warps: likewise.
        rows: likewise.
        columns: likewise.
        out: as `correct` wrote it.
        grads: gradients of `out` [B, 4, H, W].
        by_images: gradients of `images` [B, 4, H, W], zeros that are added to.
        by_gains: gradients of `gains` [B, 3], zeros that are added to.
        by_warps: gradients of `warps` [B, 2, g, g], zeros that are added to.
    """
    height, width = images.shape[2:]
    pixels, by_pixels, step = images.reshape(-1), by_images.reshape(-1), np.uint64(width)
    cells, to_right, to_lower = np.empty((2, width), np.int64), np.empty(width, np.float32), np.empty(width, np.float32)
    along_x, along_y = np.empty(width, np.float32), np.empty(width, np.float32)  # gradients of the positions
    above, below = np.empty(width, np.float32), np.empty(width, np.float32)
    own = np.empty(4 * width, np.float32)  # gradients of the warped image before its gains
    scale_x, scale_y = HALF * np.float32(width), HALF * np.float32(height)
    for b in range(first, end):
        if is_corrected[b] == ZERO:
            _copy(grads[b].reshape(-1), by_images[b].reshape(-1))
            continue
        for y in range(height):
            by_alpha = own[3 * width :]
            _copy(grads[b, 3, y], by_alpha)
            for c in range(3):
                by_color, gain, background = own[c * width : (c + 1) * width], gains[b, c], backgrounds[b, c]
                by_gains[b, c] += _backward_gain(
                    grads[b, c, y], out[b, c, y], out[b, 3, y], gain, background, by_color, by_alpha
                )
            _locate(warps[b], rows[y], columns, y, height, cells, to_right, to_lower)
            along_x[:] = ZERO
            along_y[:] = ZERO
            start = 0
            while start < width:
                stop = _end_of_run(cells, start)
                column, row = cells[0, start], cells[1, start]
                run = np.uint64(start), np.uint64(stop)
                for c in range(4):
                    source = np.uint64(((b * 4 + c) * height + row) * width + column - start)
                    first_of_line = np.uint64(c * width)
                    _slope_along_x(pixels, source, step, to_lower, own, first_of_line, run, along_x)
                    _slope_along_y(pixels, source, step, to_right, own, first_of_line, run, along_y)
                    _divide(own, first_of_line, to_lower, run, above, below)
                    _give(above, to_right, run, by_pixels, source)
                    _give(below, to_right, run, by_pixels, source + step)
                start = stop
            _position(warps[b, 0], rows[y], columns, ZERO, ONE, scale_x, above)
            _gather_warp(along_x, above, rows[y], columns, scale_x, by_warps[b, 0])
            _position(warps[b, 1], rows[y], columns, np.float32(y), ZERO, scale_y, above)
            _gather_warp(along_y, above, rows[y], columns, scale_y, by_warps[b, 1])


@no_type_check
@kernel()
def _copy(values, out):
    for k in range(len(out)):
        out[k] = values[k]


@no_type_check
@kernel()
def _position(warp, row, columns, base, step, scale, out):
    """Where the pixels of a line read along one axis: base + step * x + scale * displacement, pixels."""
    for x in range(len(out)):
        out[x] = base + step * np.float32(x)
    for j in range(len(columns)):
        displacement = ZERO
        for i in range(len(row)):
            displacement += row[i] * warp[i, j]
        displacement *= scale
        weights = columns[j]
        for x in range(len(out)):
            out[x] += displacement * weights[x]


@no_type_check
@kernel()
def _locate(warp, row, columns, y, height, cells, to_right, to_lower):
    """The cells that the pixels of line `y` read, the first of two along x and y, and the weights of the second."""
    width = columns.shape[1]
    _position(warp[0], row, columns, ZERO, ONE, HALF * np.float32(width), to_right)
    _position(warp[1], row, columns, np.float32(y), ZERO, HALF * np.float32(height), to_lower)
    _split(to_right, width, cells[0])
    _split(to_lower, height, cells[1])


@no_type_check
@kernel()
def _split(positions, size, cells):
    """Positions within the image become cells and weights of the next ones, in place; NaN reads the first cell."""
    last = np.float32(size - 1)
    for x in range(len(positions)):
        position = positions[x]
        position = min(position, last) if position > ZERO else ZERO
        cell = min(int(position), size - 2)
        cells[x] = cell
        positions[x] = position - np.float32(cell)


@no_type_check
@kernel()
def _end_of_run(cells, start):
    """Where the pixels end that read the same row at the same offset as the one at `start`."""
    stop = start + 1
    while (
        stop < cells.shape[1] and cells[1, stop] == cells[1, start] and cells[0, stop] - stop == cells[0, start] - start
    ):
        stop += 1
    return stop


@no_type_check
@kernel()
def _read(pixels, source, step, right, down, run, out, target):
    """Bilinear reads of a run: pixel k reads the four pixels from `source + k` on, `step` pixels are a line."""
    for k in range(run[0], run[1]):
        i = source + k
        above = pixels[i] + right[k] * (pixels[i + _UNIT] - pixels[i])
        below = pixels[i + step] + right[k] * (pixels[i + step + _UNIT] - pixels[i + step])
        out[target + k] = above + down[k] * (below - above)


@no_type_check
@kernel()
def _backward_gain(grads, colors, alphas, gain, background, by_color, by_alpha):
    """Gradients of a line's warped color (written) and opacity (added to); returns that of the gain."""
    rest, inverse, total = background * (ONE - gain), ONE / gain, ZERO
    for x in range(len(grads)):
        by_color[x] = gain * grads[x]
        by_alpha[x] -= rest * grads[x]
        total += grads[x] * (colors[x] - (ONE - alphas[x]) * background)
    return total * inverse


@no_type_check
@kernel()
def _slope_along_x(pixels, source, step, down, grads, line, run, out):
    """Adds the gradients of the positions along x."""
    for k in range(run[0], run[1]):
        i = source + k
        above, below = pixels[i + _UNIT] - pixels[i], pixels[i + step + _UNIT] - pixels[i + step]
        out[k] += grads[line + k] * (above + down[k] * (below - above))


@no_type_check
@kernel()
def _slope_along_y(pixels, source, step, right, grads, line, run, out):
    """Adds the gradients of the positions along y."""
    for k in range(run[0], run[1]):
        i = source + k
        before, after = pixels[i + step] - pixels[i], pixels[i + step + _UNIT] - pixels[i + _UNIT]
        out[k] += grads[line + k] * (before + right[k] * (after - before))


@no_type_check
@kernel()
def _divide(grads, line, down, run, above, below):
    """Divides gradients among the upper and the lower neighbors."""
    for k in range(run[0], run[1]):
        below[k] = down[k] * grads[line + k]
    for k in range(run[0], run[1]):
        above[k] = grads[line + k] - below[k]


@no_type_check
@kernel()
def _give(grads, right, run, out, target):
    """Adds gradients to the left and the right neighbors."""
    for k in range(run[0], run[1]):
        out[target + k] += grads[k] - right[k] * grads[k]
    for k in range(run[0], run[1]):
        out[target + k + _UNIT] += right[k] * grads[k]


@no_type_check
@kernel()
def _gather_warp(along, positions, row, columns, scale, by_warp):
    """Adds the gradients of the control points from those of a line's positions; those at the border have none."""
    last = TWO * scale - ONE
    for x in range(len(along)):
        along[x] = along[x] if (positions[x] > ZERO) & (positions[x] < last) else ZERO
    for j in range(len(columns)):
        weights, total = columns[j], ZERO
        for x in range(len(along)):
            total += weights[x] * along[x]
        for i in range(len(row)):
            by_warp[i, j] += scale * row[i] * total
