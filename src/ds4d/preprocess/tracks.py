"""Regions of masks followed from frame to frame."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from ds4d.preprocess.regions import label_regions, region_areas, smallest_connected

_FRACTION = 0.25  # of the smaller of two regions; what moves by half its width between frames is still followed


class RegionTracks:
    """The regions of a clip's masks. Two of successive frames are one where they share a quarter of the smaller one.

    A region that falls apart and grows together again is one all the time, with all its parts.

    Args:
        masks: of every frame.

    Attributes:
        labels: of every frame, the region of each pixel from 1 on, 0 outside the mask.
        areas: of every frame, pixels of its regions.
        names: of every frame, the track that each of its regions belongs to, from 0 on.
        count: an upper bound of the tracks' names.
    """

    def __init__(self, masks: Sequence[Bool[np.ndarray, "H W"]]) -> None:
        labelled = [label_regions(mask) for mask in masks]
        self.labels = [labels for labels, _ in labelled]
        self.areas = [region_areas(labels, count) for labels, count in labelled]
        firsts = np.cumsum([0, *(len(areas) for areas in self.areas)])
        links = [np.zeros((2, 0), np.int64)]
        for now in range(1, len(masks)):
            earlier, later = self._same(now - 1, now)
            links.append(np.stack((firsts[now - 1] + earlier, firsts[now] + later)))
        self.count = int(firsts[-1])
        names = smallest_connected(self.count, *np.concatenate(links, axis=1))
        self.names = np.split(names, firsts[1:-1])

    def select(self, tracks: Bool[np.ndarray, " tracks"]) -> list[Bool[np.ndarray, "H W"]]:
        """Of every frame, the regions that belong to some of the tracks."""
        chosen = (np.append(False, tracks[names]) for names in self.names)
        return [regions[labels] for regions, labels in zip(chosen, self.labels, strict=True)]

    def _same(self, now: int, then: int) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """The regions of two frames that are one, from 0 on."""
        both = (self.labels[now] > 0) & (self.labels[then] > 0)
        codes, shared = np.unique(
            (self.labels[now][both].astype(np.int64) - 1) * len(self.areas[then]) + self.labels[then][both] - 1,
            return_counts=True,
        )
        here, there = np.divmod(codes, max(1, len(self.areas[then])))
        same = shared > _FRACTION * np.minimum(self.areas[now][here], self.areas[then][there])
        return here[same], there[same]
