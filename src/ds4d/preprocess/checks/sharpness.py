"""Whether the video shows the object sharply."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.preprocess.checks.context import CheckContext
from ds4d.preprocess.findings import Finding
from ds4d.preprocess.regions import bounding_box, shrink

# Videos in focus lie at 0.28 to 0.8, the same ones blurred by a Gaussian of two pixels at 0.15 to 0.18.
_BLURRED = 0.19
_LEAST_CONTRAST = 1.0  # levels of 255; on plainer objects nothing tells
_LEAST_INSIDE = 64  # pixels


def blurred(context: CheckContext) -> Finding | None:
    """A video without fine detail on the object."""
    pairs = zip(context.cut.images, context.masks, strict=True)
    values = [value for image, mask in pairs if (value := _detail(image, mask)) is not None]
    if not values or float(np.median(values)) > _BLURRED:
        return None
    return Finding(
        "warning",
        "The object is blurred: the video shows no detail of a pixel or two on it.",
        "Give a sharper video, or ask for smaller images with --size.",
    )


def _detail(image: UInt8[np.ndarray, "H W 4"], mask: Bool[np.ndarray, "H W"]) -> float | None:
    """Strength of the detail of a pixel over that of a few, inside the silhouette; None where nothing tells."""
    inside = shrink(mask, 4)
    if np.count_nonzero(inside) < _LEAST_INSIDE:
        return None
    box = bounding_box(inside)
    gray = image[box][..., :3].mean(axis=-1)
    smooth = _box_mean(gray, 1)
    fine = np.abs(gray - smooth)[inside[box]].mean()
    coarse = np.abs(smooth - _box_mean(smooth, 4))[inside[box]].mean()
    return float(fine / coarse) if coarse > _LEAST_CONTRAST else None


def _box_mean(values: Float[np.ndarray, "H W"], radius: int) -> Float[np.ndarray, "H W"]:
    """Means over squares; the border's values go on beyond it."""
    width = 2 * radius + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius + 1, radius)
        sums = np.moveaxis(np.pad(values, padding, mode="edge").cumsum(axis=axis), axis, 0)
        values = np.moveaxis((sums[width:] - sums[:-width]) / width, 0, axis)
    return values
