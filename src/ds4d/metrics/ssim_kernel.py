"""SSIM and its gradients on the CPU, plane by plane: a few passes over the rows instead of some sixty over the images.

Four maps of a plane are blurred: the sum and the difference of the two images, and their squares (see `ssim.py`).
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import HALF, ONE, TWO, ZERO, kernel
from ds4d.metrics.ssim import C1, C2, RADIUS

_TAPS = 2 * RADIUS + 1
_C1, _C2 = np.float32(C1), np.float32(C2)


@no_type_check
@kernel()
def score_planes(first, end, a, b, window, scores, gradients_a, gradients_b):
    """Mean SSIM of each plane, and its gradients if they are asked for. Items: planes.

    Args:
        first: index of the first plane.
        end: index after the last plane.
        a: planes [P, H, W] of one image, float32.
        b: planes [P, H, W] of the other image, float32.
        window: weights [11] of the window, with sum 1.
        scores: [P], written.
        gradients_a: [P, H, W], written; [0, H, W] if they are not asked for.
        gradients_b: [P, H, W] for the other image, written; [0, H, W] if they are not asked for.
    """
    height, width = a.shape[1] - _TAPS + 1, a.shape[2] - _TAPS + 1
    with_gradients = len(gradients_a) + len(gradients_b) > 0
    line = np.empty((4, a.shape[2]), np.float32)
    inside = np.empty((4, width), np.float32)
    rows = np.empty((4, a.shape[1], width), np.float32)
    spread = np.empty((4, a.shape[1] if with_gradients else 0, width), np.float32)
    weight = ONE / np.float32(height * width)
    for plane in range(first, end):
        for y in range(a.shape[1]):
            _write_maps(a[plane, y], b[plane, y], line)
            for m in range(4):
                _blur_across(line[m], window, rows[m, y])
        spread[:] = ZERO
        total = 0.0
        for y in range(height):
            for m in range(4):
                _blur_down(rows[m, y : y + _TAPS], window, inside[m])
            total += _score(inside, weight)
            if with_gradients:
                for m in range(4):
                    _spread_down(inside[m], window, spread[m, y : y + _TAPS])
        scores[plane] = total * weight
        for y in range(a.shape[1] if with_gradients else 0):
            for m in range(4):
                _spread_across(spread[m, y], window, line[m])
            _gather_gradients(a[plane, y], b[plane, y], line)
            if len(gradients_a) > 0:
                _copy(line[0], gradients_a[plane, y])
            if len(gradients_b) > 0:
                _copy(line[1], gradients_b[plane, y])


@no_type_check
@kernel()
def _copy(line, out):
    for x in range(len(out)):
        out[x] = line[x]


@no_type_check
@kernel()
def _write_maps(a, b, line):
    """The four maps of one row."""
    for x in range(len(a)):
        total, difference = a[x] + b[x], a[x] - b[x]
        line[0, x], line[1, x] = total, difference
        line[2, x], line[3, x] = total * total, difference * difference


@no_type_check
@kernel()
def _blur_across(line, window, out):
    for x in range(len(out)):
        value = ZERO
        for k in range(_TAPS):
            value += window[k] * line[x + k]
        out[x] = value


@no_type_check
@kernel()
def _blur_down(rows, window, out):
    out[:] = ZERO
    for k in range(_TAPS):
        weight, row = window[k], rows[k]
        for x in range(len(out)):
            out[x] += weight * row[x]


@no_type_check
@kernel()
def _score(inside, weight):
    """The sum of a row of SSIM; overwrites the blurred maps by the gradients of `weight` times that sum."""
    result = ZERO
    for x in range(inside.shape[1]):
        mean_total, mean_difference = inside[0, x], inside[1, x]
        bias, energy = mean_difference * mean_difference, mean_total * mean_total
        noise, signal = inside[3, x] - bias, inside[2, x] - energy
        brightness, contrast = HALF * (energy + bias) + _C1, HALF * (signal + noise) + _C2
        luminance, structure = ONE - bias / brightness, ONE - noise / contrast
        result += luminance * structure
        by_luminance, by_structure = structure * weight / brightness, luminance * weight / contrast
        by_noise = by_structure * (HALF * noise / contrast - ONE)
        by_signal = by_structure * HALF * noise / contrast
        by_bias = by_luminance * (HALF * bias / brightness - ONE) - by_noise
        by_energy = by_luminance * HALF * bias / brightness - by_signal
        inside[0, x], inside[1, x] = TWO * mean_total * by_energy, TWO * mean_difference * by_bias
        inside[2, x], inside[3, x] = by_signal, by_noise
    return result


@no_type_check
@kernel()
def _spread_down(inside, window, rows):
    """Adds the gradients of the rows that `_blur_down` read."""
    for k in range(_TAPS):
        weight, row = window[k], rows[k]
        for x in range(len(inside)):
            row[x] += weight * inside[x]


@no_type_check
@kernel()
def _spread_across(row, window, line):
    """The gradients of the line that `_blur_across` read."""
    line[:] = ZERO
    for k in range(_TAPS):
        weight = window[k]
        for x in range(len(row)):
            line[x + k] += weight * row[x]


@no_type_check
@kernel()
def _gather_gradients(a, b, line):
    """Turns the gradients of the four maps into those of the two images, in the first two rows."""
    for x in range(len(a)):
        by_total = line[0, x] + TWO * (a[x] + b[x]) * line[2, x]
        by_difference = line[1, x] + TWO * (a[x] - b[x]) * line[3, x]
        line[0, x], line[1, x] = by_total + by_difference, by_total - by_difference
