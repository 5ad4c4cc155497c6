import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ds4d.preprocess.regions import (
    bounding_box,
    grow,
    label_regions,
    region_areas,
    shrink,
    smallest_connected,
    touching_border,
)

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.booleans())


def flood(mask: np.ndarray) -> np.ndarray:
    """Regions found one pixel at a time."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in np.argwhere(mask):
        if labels[tuple(start)]:
            continue
        count += 1
        waiting = [tuple(start)]
        while waiting:
            row, column = waiting.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not labels[row, column]:
                labels[row, column] = count
                waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return labels


@given(masks)
def test_regions_are_those_of_a_flood(mask: np.ndarray) -> None:
    labels, count = label_regions(mask)
    truth = flood(mask)
    assert count == truth.max()
    assert np.array_equal(labels > 0, mask)
    assert len(np.unique(np.stack((labels, truth)).reshape(2, -1), axis=1).T) == count + (not mask.all())
    assert np.array_equal(np.sort(region_areas(labels, count)), np.sort(np.bincount(truth.reshape(-1))[1:]))


def test_a_winding_region_is_one() -> None:
    ys, xs = np.mgrid[:200, :200] - 100
    spiral = np.sin(np.hypot(ys, xs) / 3 + np.arctan2(ys, xs)) > 0
    assert label_regions(spiral)[1] == flood(spiral).max()


@given(masks)
def test_what_touches_the_border(mask: np.ndarray) -> None:
    labels = flood(mask)
    edge = np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    assert np.array_equal(touching_border(mask), np.isin(labels, edge[edge > 0]))


@given(masks, st.integers(0, 3))
def test_growing_is_the_maximum_over_a_square(mask: np.ndarray, radius: int) -> None:
    padded = np.pad(mask, radius)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    assert np.array_equal(grow(mask, radius), windows.any(axis=(2, 3)))
    assert np.array_equal(shrink(~mask, radius), ~grow(mask, radius))


def test_names_of_connected_nodes() -> None:
    names = smallest_connected(7, np.array([5, 3, 6]), np.array([3, 1, 6]))
    assert names.tolist() == [0, 1, 2, 1, 4, 1, 6]
    chain = np.arange(500)
    assert smallest_connected(501, chain, chain + 1).tolist() == [0] * 501


def test_bounding_box() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2, 5] = mask[6, 3] = True
    assert bounding_box(mask) == (slice(2, 7), slice(3, 6))


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.ones((4, 5), bool)])
def test_plain_masks(mask: np.ndarray) -> None:
    labels, count = label_regions(mask)
    assert count == int(mask.all())
    assert np.array_equal(labels, mask.astype(int))
