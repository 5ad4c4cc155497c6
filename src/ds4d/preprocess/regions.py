"""Connected regions of masks, and masks grown and shrunk."""

import numpy as np
from jaxtyping import Bool, Int


def label_regions(mask: Bool[np.ndarray, "H W"]) -> tuple[Int[np.ndarray, "H W"], int]:
    """Numbers the connected regions of a mask; pixels are neighbors along rows and columns.

    Rows are cut into runs of true pixels; runs that touch the row above take the smallest number among them until
    nothing changes.

    Returns:
        The region of each pixel from 1 on, 0 outside the mask; and how many regions there are.
    """
    height, width = mask.shape
    edges = np.diff(mask, axis=1, prepend=False, append=False).reshape(-1)  # one column more than the mask
    starts, ends = np.flatnonzero(edges).reshape(-1, 2).T
    if not len(starts):
        return np.zeros(mask.shape, np.int32), 0
    above = width + 1  # the distance to the same place in the row above
    first = np.searchsorted(ends, starts - above, side="right")
    last = np.searchsorted(starts, ends - above, side="left")
    counts = np.maximum(last - first, 0)
    lower = np.repeat(np.arange(len(starts)), counts)
    upper = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    names = smallest_connected(len(starts), lower, upper)
    numbers, count = np.unique(names, return_inverse=True)[1] + 1, len(np.unique(names))
    changes = np.zeros(height * above, np.int32)  # half the memory: labels of a whole clip are kept
    changes[starts] = numbers
    changes[ends] -= numbers
    return np.cumsum(changes, dtype=np.int32).reshape(height, above)[:, :width], count


def smallest_connected(
    count: int, lower: Int[np.ndarray, " E"], upper: Int[np.ndarray, " E"]
) -> Int[np.ndarray, " count"]:
    """For each of `count` nodes, the smallest node it is connected to by the edges (lower, upper)."""
    names = np.arange(count)
    while True:
        smaller = np.minimum(names[lower], names[upper])
        before = names.copy()
        # The names are nodes themselves: what they are called now, all that bear their name will be called.
        np.minimum.at(names, before[lower], smaller)
        np.minimum.at(names, before[upper], smaller)
        names = names[names]
        if np.array_equal(names, before):
            return names


def region_areas(labels: Int[np.ndarray, "H W"], count: int) -> Int[np.ndarray, " regions"]:
    """Pixels of each of the regions 1 to `count`."""
    return np.bincount(labels.reshape(-1), minlength=count + 1)[1:]


def touching_border(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The regions of a mask that reach the image's border."""
    labels, count = label_regions(mask)
    reaching = np.zeros(count + 1, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reaching[side] = True
    reaching[0] = False
    return reaching[labels]


def grow(mask: Bool[np.ndarray, "H W"], radius: int) -> Bool[np.ndarray, "H W"]:
    """The mask and all within a square of this radius round it."""
    for axis in (0, 1):
        source = np.moveaxis(mask, axis, 0)
        mask = mask.copy()
        target = np.moveaxis(mask, axis, 0)
        for step in range(1, radius + 1):
            target[step:] |= source[:-step]
            target[:-step] |= source[step:]
    return mask


def shrink(mask: Bool[np.ndarray, "H W"], radius: int) -> Bool[np.ndarray, "H W"]:
    """The mask without all within a square of this radius round its outside; the image's border does not count."""
    return ~grow(~mask, radius)


def bounding_box(mask: Bool[np.ndarray, "H W"]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box round a mask that is true somewhere."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
