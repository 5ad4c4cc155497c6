"""Foreground color estimation: near its outline an object's color is mixed with the background's."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import uniform_filter

_RADIUS = 4  # pixels over which interior colors are extrapolated to the outline
_OPAQUE = 0.95  # alpha from which on a pixel shows nothing but the object


def estimate_foreground(
    colors: Float[np.ndarray, "H W 3"],
    interior: Bool[np.ndarray, "H W"],
    wanted: Bool[np.ndarray, "H W"],
) -> tuple[Float[np.ndarray, "wanted 3"], Bool[np.ndarray, " wanted"]]:
    """Foreground color of each wanted pixel: the mean color of the interior pixels in a box around it.

    Args:
        colors: colors of the image, in any range.
        interior: pixels that show nothing but the object.
        wanted: pixels to estimate the foreground color of.

    Returns:
        The colors, row by row, and whether there is an interior pixel in the box.
    """
    side = 2 * _RADIUS + 1
    weighted = np.dstack((np.where(interior[..., None], colors, 0), interior)).astype(np.float64)
    sums = side**2 * uniform_filter(weighted, (side, side, 1), mode="constant")[wanted]
    found = sums[:, 3] > 0.5  # a number of pixels, but for rounding
    return (sums[:, :3] / np.maximum(sums[:, 3:], 1)).astype(colors.dtype), found


def apply_matte(image: UInt8[np.ndarray, "H W 4"], alpha: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """The foreground of an image, premultiplied, with estimated foreground colors at the outline.

    Args:
        image: an opaque image.
        alpha: its matte, in [0, 1].
    """
    colors = image[..., :3].astype(np.float32)
    soft = (alpha > 0) & (alpha < _OPAQUE)
    foreground, found = estimate_foreground(colors, alpha >= _OPAQUE, soft)
    colors[soft] = np.where(found[:, None], foreground, colors[soft])
    covered = np.rint(255 * alpha)[..., None]
    premultiplied = np.minimum(np.rint(alpha[..., None] * colors), covered)
    return np.concatenate((premultiplied, covered), axis=-1).astype(np.uint8)
