"""Mask tracking: connected components followed from frame to frame."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Int, Integer
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ds4d.core import ArrayList
from ds4d.preprocess.components import component_areas, label_components, select_components

_MIN_OVERLAP = 0.25  # of the smaller component's area: an object that moves by half its width per frame is followed


class ComponentTracks:
    """The connected components of a clip's masks, grouped into tracks.

    Components of successive frames belong to one track where their overlap exceeds a quarter of the smaller one. A
    component that splits and merges again is one track throughout, with all its parts.

    Args:
        masks: masks of one size, one per frame.

    Attributes:
        labels: by frame, the component of each pixel, from 1, and 0 outside the mask.
        areas: by frame, the number of pixels in each component.
        tracks: by frame, the track of each component, from 0.
        count: number of tracks.
    """

    def __init__(self, masks: Iterable[Bool[np.ndarray, "H W"]]) -> None:
        self.labels = ArrayList()
        self.areas: list[Int[np.ndarray, " components"]] = []
        edges, total = [np.zeros((2, 0), np.int64)], 0
        for mask in masks:
            labels, count = label_components(mask)
            self.labels.append(labels)
            self.areas.append(component_areas(labels, count))
            if len(self.labels) > 1:
                earlier, later = _overlapping(*self.labels[-2:], *self.areas[-2:])
                edges.append(np.stack((total - len(self.areas[-2]) + earlier, total + later)))
            total += count
        rows, columns = np.concatenate(edges, axis=1)
        graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(total, total))
        self.count, tracks = connected_components(graph, directed=False) if total else (0, np.zeros(0, np.int32))
        self.tracks = np.split(tracks, np.cumsum([len(areas) for areas in self.areas])[:-1])

    def select(self, selected: Bool[np.ndarray, " tracks"]) -> Iterator[Bool[np.ndarray, "H W"]]:
        """Yields for each frame the mask of the components that belong to the selected tracks."""
        for labels, tracks in zip(self.labels, self.tracks, strict=True):
            yield select_components(labels, selected[tracks])


def _overlapping(
    labels: Integer[np.ndarray, "H W"],
    next_labels: Integer[np.ndarray, "H W"],
    areas: Int[np.ndarray, " components"],
    next_areas: Int[np.ndarray, " next_components"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pairs of components of two successive frames, from 0, that belong to one track."""
    both = (labels > 0) & (next_labels > 0)
    codes, overlaps = np.unique(
        (labels[both].astype(np.int64) - 1) * len(next_areas) + next_labels[both] - 1, return_counts=True
    )
    here, there = np.divmod(codes, max(1, len(next_areas)))
    linked = overlaps > _MIN_OVERLAP * np.minimum(areas[here], next_areas[there])
    return here[linked], there[linked]
