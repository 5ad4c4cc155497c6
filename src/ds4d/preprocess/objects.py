"""Which of the things in the cut-out is the object."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from ds4d.preprocess.regions import grow, region_areas
from ds4d.preprocess.tracks import RegionTracks

SOLID = 128  # of 255: what is at least half covered is the object's silhouette
_BRIDGE = 0.006  # of the image's longer side: parts as near as this belong together
_SPECK = 0.01  # of the largest region: smaller ones are dirt


class Kept(NamedTuple):
    """Cut-outs of what is kept, and what is not.

    Attributes:
        images: premultiplied.
        left_out: by frame, the area of things left out besides specks, share of the kept area.
    """

    images: list[UInt8[np.ndarray, "H W 4"]]
    left_out: tuple[float, ...]


def keep_objects(images: Sequence[UInt8[np.ndarray, "H W 4"]], keep: Literal["largest", "all"]) -> Kept:
    """The largest connected object through the clip, or all there are, without specks.

    Parts that come loose for a while stay the object's, since they were connected before or after. Where nothing
    overlaps with the object of the last frame, it is taken to have jumped: the largest thing then is the object.

    Args:
        images: cut out, premultiplied.
        keep: which objects.
    """
    reach = max(1, round(_BRIDGE * max(images[0].shape[:2])))
    tracks = RegionTracks([grow(image[..., 3] > 0, reach) for image in images])
    solid = [
        region_areas(np.where(image[..., 3] >= SOLID, labels, 0), len(areas))
        for image, labels, areas in zip(images, tracks.labels, tracks.areas, strict=True)
    ]
    chosen = np.ones(tracks.count, bool) if keep == "all" else _largest_tracks(tracks, solid)
    kept, left_out = [], []
    for image, labels, areas, names in zip(images, tracks.labels, solid, tracks.names, strict=True):
        large = areas > _SPECK * areas.max(initial=0)
        mine = chosen[names] & large
        kept.append(np.where(np.append(False, mine)[labels][..., None], image, 0).astype(np.uint8))
        left_out.append(float(areas[large & ~mine].sum() / max(areas[mine].sum(), 1)))
    return Kept(kept, tuple(left_out))


def _largest_tracks(tracks: RegionTracks, solid: list[Int[np.ndarray, " _"]]) -> Bool[np.ndarray, " tracks"]:
    """The tracks of the largest object, from the frame where it is largest on, forwards and backwards."""
    chosen = np.zeros(tracks.count, bool)
    start = int(np.argmax([areas.max(initial=0) for areas in solid]))
    for order in (range(start, len(solid)), range(start, -1, -1)):
        for time in order:
            if solid[time].any() and not chosen[tracks.names[time]].any():
                chosen[tracks.names[time][np.argmax(solid[time])]] = True
    return chosen
