"""Mattes of a clip made to agree from frame to frame."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from ds4d.preprocess.regions import label_regions, region_areas, touching_border

_WRONG = 0.03  # of the object: a frame that differs by less from its neighbors is left alone
_OVER_MOTION = 2.0  # it must differ from both by as many times as they differ from one another
_PINHOLE = 0.002  # of the object


def steady_mattes(alphas: Sequence[Float[np.ndarray, "H W"]]) -> list[Float[np.ndarray, "H W"]]:
    """Mattes without flicker and pinholes, each model run being independent of the last.

    A frame flickers where the frames before and after agree on what it denies, over more of the image than the
    motion between those two explains; there it takes their mean. Moving parts are left alone by that.
    """
    masks = [alpha >= 0.5 for alpha in alphas]
    steadied = [alpha.copy() for alpha in alphas]
    for now in range(1, len(alphas) - 1):
        before, after = masks[now - 1], masks[now + 1]
        wrong = (before == after) & (masks[now] != before)
        motion = np.count_nonzero(before != after)
        if np.count_nonzero(wrong) > max(_WRONG * np.count_nonzero(before), _OVER_MOTION * motion):
            steadied[now][wrong] = ((alphas[now - 1] + alphas[now + 1]) / 2)[wrong]
    for alpha in steadied:
        alpha[_pinholes(alpha >= 0.5)] = 1.0
    return steadied


def _pinholes(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    holes = ~mask & ~touching_border(~mask)
    labels, count = label_regions(holes)
    small = region_areas(labels, count) < _PINHOLE * np.count_nonzero(mask)
    return np.concatenate(([False], small))[labels]
