"""Whether the film shows the object sharply."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from ds4d.video.findings import Finding
from ds4d.video.preflight.evidence import Evidence
from ds4d.video.regions import bounding_box, shrink

_BLURRED = 0.3
_LEAST_INSIDE = 64  # pixels


def blurred(evidence: Evidence) -> Finding | None:
    """A film without fine detail on the object."""
    pairs = zip(evidence.cut.pictures, evidence.masks, strict=True)
    values = [value for picture, mask in pairs if (value := _detail(picture, mask)) is not None]
    if not values or float(np.median(values)) > _BLURRED:
        return None
    return Finding(
        "warning",
        "The object is blurred: the film shows no detail of a pixel or two on it.",
        "Give a sharper film, or ask for smaller pictures with --size.",
    )


def _detail(picture: UInt8[np.ndarray, "H W 4"], mask: np.ndarray) -> float | None:
    """Strength of the detail of one pixel over that of two, inside the silhouette; None where nothing tells."""
    inside = shrink(mask, 4)
    if np.count_nonzero(inside) < _LEAST_INSIDE:
        return None
    box = bounding_box(inside)
    grey = Image.fromarray(picture[box][..., :3]).convert("L")
    once, twice = (_smoothed(grey, radius) for radius in (1, 2))
    fine = np.abs(np.asarray(grey, np.float32) - once)[inside[box]].mean()
    coarse = np.abs(once - twice)[inside[box]].mean()
    return float(fine / max(coarse, 1e-3)) if coarse > 0.2 else None


def _smoothed(grey: Image.Image, radius: float) -> Float[np.ndarray, "H W"]:
    return np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float32)
