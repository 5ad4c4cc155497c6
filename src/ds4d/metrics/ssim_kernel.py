"""SSIM and its gradients on the CPU, plane by plane: some sixty passes over the images become a few over their rows.

Compiled by numba at the first use and kept on disk; importing this module imports numba. Four maps of a plane are
blurred: the sum and the difference of the two images, and the squares of these (`ssim.py` says why these).
"""

from typing import no_type_check

import numpy as np
from numba import njit

from ds4d.metrics.ssim import C1, C2, RADIUS

# Rounding may differ from strict IEEE order, which is what lets sums run in vector lanes; NaN and infinity stay honest.
_FAST = {"contract", "nsz", "arcp", "reassoc"}
_TAPS = 2 * RADIUS + 1
_C1, _C2 = np.float32(C1), np.float32(C2)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def score_planes(first, end, a, b, window, scores, gradients_a, gradients_b):
    """Mean SSIM of each plane, and its gradients where there is room for them. Items: planes.

    Args:
        first: plane to begin with.
        end: plane to end before.
        a: planes [P, H, W] of one image, float32.
        b: those of the other.
        window: weights [11], of sum 1.
        scores: [P], written.
        gradients_a: [P, H, W] or, where nobody asks, [0, H, W]; written.
        gradients_b: likewise, of the other image.
    """
    height, width = a.shape[1] - _TAPS + 1, a.shape[2] - _TAPS + 1
    wanted = len(gradients_a) + len(gradients_b) > 0
    line = np.empty((4, a.shape[2]), np.float32)
    inside = np.empty((4, width), np.float32)
    rows = np.empty((4, a.shape[1], width), np.float32)
    returned = np.empty((4, a.shape[1] if wanted else 0, width), np.float32)
    share = _ONE / np.float32(height * width)
    for plane in range(first, end):
        for y in range(a.shape[1]):
            _write_maps(a[plane, y], b[plane, y], line)
            for m in range(4):
                _blur_across(line[m], window, rows[m, y])
        returned[:] = _ZERO
        total = 0.0
        for y in range(height):
            for m in range(4):
                _blur_down(rows[m, y : y + _TAPS], window, inside[m])
            total += _score(inside, share)
            if wanted:
                for m in range(4):
                    _spread_down(inside[m], window, returned[m, y : y + _TAPS])
        scores[plane] = total * share
        for y in range(a.shape[1] if wanted else 0):
            for m in range(4):
                _spread_across(returned[m, y], window, line[m])
            _gather_gradients(a[plane, y], b[plane, y], line)
            if len(gradients_a) > 0:
                gradients_a[plane, y] = line[0]
            if len(gradients_b) > 0:
                gradients_b[plane, y] = line[1]


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _write_maps(a, b, line):
    """The four maps of one row."""
    for x in range(len(a)):
        total, difference = a[x] + b[x], a[x] - b[x]
        line[0, x], line[1, x] = total, difference
        line[2, x], line[3, x] = total * total, difference * difference


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _blur_across(line, window, out):
    for x in range(len(out)):
        value = _ZERO
        for k in range(_TAPS):
            value += window[k] * line[x + k]
        out[x] = value


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _blur_down(rows, window, out):
    out[:] = _ZERO
    for k in range(_TAPS):
        weight, row = window[k], rows[k]
        for x in range(len(out)):
            out[x] += weight * row[x]


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _score(inside, share):
    """The sum of a row of SSIM; its blurred maps become the gradients of `share` times that sum."""
    result = _ZERO
    for x in range(inside.shape[1]):
        mean_total, mean_difference = inside[0, x], inside[1, x]
        bias, energy = mean_difference * mean_difference, mean_total * mean_total
        noise, signal = inside[3, x] - bias, inside[2, x] - energy
        brightness, contrast = _HALF * (energy + bias) + _C1, _HALF * (signal + noise) + _C2
        luminance, structure = _ONE - bias / brightness, _ONE - noise / contrast
        result += luminance * structure
        by_luminance, by_structure = structure * share / brightness, luminance * share / contrast
        by_noise = by_structure * (_HALF * noise / contrast - _ONE)
        by_signal = by_structure * _HALF * noise / contrast
        by_bias = by_luminance * (_HALF * bias / brightness - _ONE) - by_noise
        by_energy = by_luminance * _HALF * bias / brightness - by_signal
        inside[0, x], inside[1, x] = _TWO * mean_total * by_energy, _TWO * mean_difference * by_bias
        inside[2, x], inside[3, x] = by_signal, by_noise
    return result


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _spread_down(inside, window, rows):
    """Adds what comes back through `_blur_down`."""
    for k in range(_TAPS):
        weight, row = window[k], rows[k]
        for x in range(len(inside)):
            row[x] += weight * inside[x]


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _spread_across(row, window, line):
    """What comes back through `_blur_across`."""
    line[:] = _ZERO
    for k in range(_TAPS):
        weight = window[k]
        for x in range(len(row)):
            line[x + k] += weight * row[x]


@no_type_check
@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _gather_gradients(a, b, line):
    """Gradients of the four maps become those of the two images, in the first two rows."""
    for x in range(len(a)):
        by_total = line[0, x] + _TWO * (a[x] + b[x]) * line[2, x]
        by_difference = line[1, x] + _TWO * (a[x] - b[x]) * line[3, x]
        line[0, x], line[1, x] = by_total + by_difference, by_total - by_difference
