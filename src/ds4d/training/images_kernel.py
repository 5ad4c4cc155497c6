"""Training images as floats at a whole fraction of their size, on the CPU: one pass over the bytes of each image.

Compiled by numba at the first use and kept on disk; importing this module imports numba.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import ONE, kernel

_ONE, _TWO = np.uint64(1), np.uint64(2)  # unsigned indices let loops use vector registers


@no_type_check
@kernel()
def average(first, end, images, times, views, factor, out):
    """Means over squares of pixels, in [0, 1]. Items: images.

    Args:
        first: index of the first image.
        end: index after the last image.
        images: [T, V, C, H, W], bytes.
        times: of each image [B].
        views: of each image [B].
        factor: pixels along the side of a square.
        out: [B, C, H / factor, W / factor], float32, written.
    """
    scale = ONE / np.float32(255 * factor * factor)
    for b in range(first, end):
        for c in range(out.shape[1]):
            for y in range(out.shape[2]):
                line = out[b, c, y]
                if factor == 1:
                    _convert(images[times[b], views[b], c, y], scale, line)
                elif factor == 2:
                    _average_pairs(
                        images[times[b], views[b], c, 2 * y], images[times[b], views[b], c, 2 * y + 1], scale, line
                    )
                else:
                    _average_squares(images[times[b], views[b], c, factor * y : factor * (y + 1)], scale, line)


@no_type_check
@kernel()
def _convert(pixels, scale, out):
    for x in range(np.uint64(len(out))):
        out[x] = scale * np.float32(pixels[x])


@no_type_check
@kernel()
def _average_pairs(upper, lower, scale, out):
    for x in range(np.uint64(len(out))):
        left, right = _TWO * x, _TWO * x + _ONE
        above = np.float32(upper[left]) + np.float32(upper[right])
        below = np.float32(lower[left]) + np.float32(lower[right])
        out[x] = scale * (above + below)


@no_type_check
@kernel()
def _average_squares(lines, scale, out):
    factor = len(lines)
    for x in range(len(out)):
        total = np.float32(0)
        for row in range(factor):
            for column in range(factor):
                total += np.float32(lines[row, factor * x + column])
        out[x] = scale * total
