"""The object's own color near its outline, where pixels mix it with what lies behind."""

import numpy as np
from jaxtyping import Bool, Float

_REACH = 4  # pixels over which the color of the object's inside is carried to its outline


def own_color(
    colors: Float[np.ndarray, "H W 3"],
    inside: Bool[np.ndarray, "H W"],
    wanted: Bool[np.ndarray, "H W"],
) -> tuple[Float[np.ndarray, "wanted 3"], Bool[np.ndarray, " wanted"]]:
    """For each pixel wanted, row by row, the mean color of the inside within a few pixels, and whether there is any.

    Args:
        colors: of the image, any range.
        inside: pixels that show nothing but the object.
        wanted: pixels to find the object's color for.
    """
    height, width = inside.shape
    weighted = np.dstack((np.where(inside[..., None], colors, 0), inside)).astype(np.float64)
    # Sums over the rectangle above and left of each pixel: four of them make the sum over any box.
    sums = np.zeros((height + 1, width + 1, 4))
    sums[1:, 1:] = weighted.cumsum(axis=0).cumsum(axis=1)
    rows, columns = np.nonzero(wanted)
    top, bottom = np.maximum(rows - _REACH, 0), np.minimum(rows + _REACH + 1, height)
    left, right = np.maximum(columns - _REACH, 0), np.minimum(columns + _REACH + 1, width)
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    found = total[:, 3] > 0.5  # the sums are of whole numbers, but for rounding
    return (total[:, :3] / np.maximum(total[:, 3:], 1)).astype(colors.dtype), found
