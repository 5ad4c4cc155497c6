import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ds4d.preprocess.components import (
    at_border,
    bounding_box,
    component_areas,
    dilate,
    erode,
    label_components,
    select_components,
)

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.booleans())


def flood_fill(mask: np.ndarray) -> np.ndarray:
    """Labels of the 4-connected components, one pixel at a time."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in np.argwhere(mask):
        if labels[tuple(start)]:
            continue
        count += 1
        stack = [tuple(start)]
        while stack:
            row, column = stack.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not labels[row, column]:
                labels[row, column] = count
                stack += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return labels


@given(masks)
def test_labels_match_a_flood_fill(mask: np.ndarray) -> None:
    labels, count = label_components(mask)
    expected = flood_fill(mask)
    assert count == expected.max()
    assert np.array_equal(labels > 0, mask)
    assert len(np.unique(np.stack((labels, expected)).reshape(2, -1), axis=1).T) == count + (not mask.all())
    assert np.array_equal(np.sort(component_areas(labels, count)), np.sort(np.bincount(expected.reshape(-1))[1:]))


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.ones((4, 5), bool)])
def test_labels_of_uniform_masks(mask: np.ndarray) -> None:
    labels, count = label_components(mask)
    assert count == int(mask.all())
    assert np.array_equal(labels, mask.astype(int))


@pytest.mark.parametrize(("side", "dtype"), [(8, np.uint8), (40, np.uint16)])
def test_labels_are_stored_in_the_smallest_type(side: int, dtype: type) -> None:
    checkerboard = np.indices((side, side)).sum(axis=0) % 2 == 0
    labels, count = label_components(checkerboard)
    assert (labels.dtype, count, labels.max()) == (dtype, side**2 // 2, side**2 // 2)


@given(masks)
def test_components_at_the_border(mask: np.ndarray) -> None:
    expected = flood_fill(mask)
    border = np.concatenate((expected[0], expected[-1], expected[:, 0], expected[:, -1]))
    labels, count = label_components(mask)
    selected = select_components(labels, at_border(labels, count))
    assert np.array_equal(selected, np.isin(expected, border[border > 0]))


@given(masks, st.integers(0, 3))
def test_dilation_is_the_maximum_over_a_square(mask: np.ndarray, radius: int) -> None:
    padded = np.pad(mask, radius)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    assert np.array_equal(dilate(mask, radius), windows.any(axis=(2, 3)))
    assert np.array_equal(erode(~mask, radius), ~dilate(mask, radius))


def test_bounding_box() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2, 5] = mask[6, 3] = True
    assert bounding_box(mask) == (slice(2, 7), slice(3, 6))
