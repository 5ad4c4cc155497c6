"""Object selection: which connected components of the mattes are kept."""

from collections.abc import MutableSequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8

from ds4d.preprocess.components import component_areas, dilate, select_components
from ds4d.preprocess.tracking import ComponentTracks

OPAQUE = 128  # of 255: the object's mask is where alpha is at least one half
_MAX_GAP = 0.006  # of the longer image side: parts closer than this are one component
_MIN_AREA = 0.01  # of the largest component's area: smaller components are noise


def keep_objects(
    images: MutableSequence[UInt8[np.ndarray, "H W 4"]], keep: Literal["largest", "all"]
) -> tuple[float, ...]:
    """Clears small components and, if only the largest object is kept, all other objects, in place.

    The largest object is tracked through the clip from the frame where it is largest, forwards and backwards. Parts
    that separate for some frames remain part of it. Where its track ends, the largest component of the next frame
    continues it.

    Args:
        images: mattes of a clip, premultiplied; changed in place.
        keep: which objects to keep.

    Returns:
        For each frame the total area of the removed objects, without small components, as a fraction of the area kept.
    """
    gap = max(1, round(_MAX_GAP * max(images[0].shape[:2])))
    tracked = ComponentTracks(dilate(image[..., 3] > 0, gap) for image in images)
    areas = [
        component_areas(np.where(image[..., 3] >= OPAQUE, labels, 0), len(dilated))
        for image, labels, dilated in zip(images, tracked.labels, tracked.areas, strict=True)
    ]
    selected = np.ones(tracked.count, bool) if keep == "all" else _largest_object(tracked, areas)
    removed = []
    for image, labels, area, tracks in zip(images, tracked.labels, areas, tracked.tracks, strict=True):
        large = area > _MIN_AREA * area.max(initial=0)
        kept = selected[tracks] & large
        image *= select_components(labels, kept)[..., None]
        removed.append(float(area[large & ~kept].sum() / max(area[kept].sum(), 1)))
    return tuple(removed)


def _largest_object(tracked: ComponentTracks, areas: list[Int[np.ndarray, " _"]]) -> Bool[np.ndarray, " tracks"]:
    """Tracks of the largest object."""
    selected = np.zeros(tracked.count, bool)
    start = int(np.argmax([area.max(initial=0) for area in areas]))
    for order in (range(start, len(areas)), range(start, -1, -1)):
        for time in order:
            if areas[time].any() and not selected[tracked.tracks[time]].any():
                selected[tracked.tracks[time][np.argmax(areas[time])]] = True
    return selected
