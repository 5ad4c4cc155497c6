"""Temporal mask smoothing: a matting model that runs frame by frame flickers."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float

from ds4d.preprocess.components import at_border, component_areas, label_components, select_components

_MIN_ERROR = 0.03  # of the object's area: smaller differences from the neighboring frames are kept
_OVER_MOTION = 2.0  # a difference is flicker if it exceeds this many times the neighbors' difference from each other
_PINHOLE = 0.002  # of the object's area


def smooth_mattes(alphas: Iterable[Float[np.ndarray, "H W"]]) -> Iterator[Float[np.ndarray, "H W"]]:
    """Removes flicker and pinholes from the mattes of a clip; holds three frames at a time.

    A frame flickers where the previous and the next frame agree on the mask and the frame itself does not, over a
    larger area than the motion between those two explains. There it takes the mean of the two. Fast motion is kept by
    that.

    Args:
        alphas: mattes in [0, 1], of successive frames.
    """
    previous = current = None
    for following in chain(alphas, (None,)):
        if current is not None:
            yield _fill_pinholes(_without_flicker(previous, current, following))
        previous, current = current, following


def _without_flicker(
    previous: Float[np.ndarray, "H W"] | None,
    current: Float[np.ndarray, "H W"],
    following: Float[np.ndarray, "H W"] | None,
) -> Float[np.ndarray, "H W"]:
    smoothed = current.copy()
    if previous is None or following is None:
        return smoothed
    before, mask, after = (alpha >= 0.5 for alpha in (previous, current, following))
    wrong = (before == after) & (mask != before)
    motion = np.count_nonzero(before != after)
    if np.count_nonzero(wrong) > max(_MIN_ERROR * np.count_nonzero(before), _OVER_MOTION * motion):
        smoothed[wrong] = ((previous + following) / 2)[wrong]
    return smoothed


def _fill_pinholes(alpha: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    alpha[_pinholes(alpha >= 0.5)] = 1.0
    return alpha


def _pinholes(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Holes of a mask that are too small to be seen through."""
    labels, count = label_components(~mask)
    small = component_areas(labels, count) < _PINHOLE * np.count_nonzero(mask)
    return select_components(labels, small & ~at_border(labels, count))
