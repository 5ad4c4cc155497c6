"""Check of the sharpness of the object."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import uniform_filter

from ds4d.preprocess.checks.base import CheckContext, Finding
from ds4d.preprocess.components import bounding_box, erode

# Videos in focus are at 0.28 to 0.8, the same videos blurred by a Gaussian of two pixels at 0.15 to 0.18.
_BLURRED = 0.19
_MIN_CONTRAST = 1.0  # levels of 255: objects of one color do not show whether they are blurred
_MIN_PIXELS = 64  # inside the mask


def blurred(context: CheckContext) -> Finding | None:
    """Finds videos without fine detail on the object."""
    pairs = zip(context.mattes.images, context.masks, strict=True)
    values = [value for image, mask in pairs if (value := _sharpness(image, mask)) is not None]
    if not values or float(np.median(values)) > _BLURRED:
        return None
    return Finding(
        "blurred",
        "warning",
        "The object is blurred: there is no detail at the scale of one or two pixels.",
        "Use a sharper video, or reduce --size.",
    )


def _sharpness(image: UInt8[np.ndarray, "H W 4"], mask: Bool[np.ndarray, "H W"]) -> float | None:
    """Ratio of detail at one pixel to detail at a few pixels inside the mask; None where it cannot be measured."""
    inside = erode(mask, 4)
    if np.count_nonzero(inside) < _MIN_PIXELS:
        return None
    box = bounding_box(inside)
    gray = image[box][..., :3].mean(axis=-1)
    smooth = uniform_filter(gray, 3, mode="nearest")
    fine = np.abs(gray - smooth)[inside[box]].mean()
    coarse = np.abs(smooth - uniform_filter(smooth, 9, mode="nearest"))[inside[box]].mean()
    return float(fine / coarse) if coarse > _MIN_CONTRAST else None
