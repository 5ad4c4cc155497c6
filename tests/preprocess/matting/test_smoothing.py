import itertools
from collections.abc import Iterator

import numpy as np

from ds4d.preprocess.matting.smoothing import smooth_mattes


def mattes(disc, columns: list[int]) -> list[np.ndarray]:
    return [disc(column, 26, 12)[..., 3].astype(np.float32) / 255 for column in columns]


def test_steady_mattes_are_unchanged(disc) -> None:
    given = mattes(disc, [14 + 3 * time for time in range(8)])
    assert all(np.array_equal(a, b) for a, b in zip(given, smooth_mattes(given), strict=True))


def test_hole_of_one_frame_is_filled(disc) -> None:
    given = mattes(disc, [20, 21, 22, 23, 24])
    broken = [matte.copy() for matte in given]
    broken[2][26:] = 0
    smoothed = list(smooth_mattes(broken))
    assert np.array_equal(smoothed[1], broken[1])
    missing = (given[2] > 0.5) & (smoothed[2] < 0.5)
    assert missing.sum() < 0.08 * (given[2] > 0.5).sum()


def test_blob_of_one_frame_is_removed(disc) -> None:
    given = mattes(disc, [20, 20, 20])
    given[1] = np.maximum(given[1], disc(52, 20, 8)[..., 3].astype(np.float32) / 255)
    assert (list(smooth_mattes(given))[1] > 0.5).sum() == (given[0] > 0.5).sum()


def test_fast_motion_is_kept() -> None:
    """A swinging bar: its position in each frame is empty in the previous and the next one."""
    given = []
    for time in range(5):
        matte = np.zeros((48, 64), np.float32)
        matte[20:40, 4:24] = 1
        matte[4:20, 8 + 10 * time : 14 + 10 * time] = 1
        given.append(matte)
    assert all(np.array_equal(a, b) for a, b in zip(given, smooth_mattes(given), strict=True))


def test_pinholes_are_filled_and_larger_holes_kept(disc) -> None:
    matte = disc(40, 40, 30, size=(80, 80))[..., 3].astype(np.float32) / 255
    matte[40, 40] = 0
    assert next(smooth_mattes([matte]))[40, 40] == 1
    matte[36:44, 36:44] = 0
    assert next(smooth_mattes([matte]))[40, 40] == 0


def test_input_is_not_changed(disc) -> None:
    (matte,) = mattes(disc, [30])
    matte[26, 30] = 0
    list(smooth_mattes([matte]))
    assert matte[26, 30] == 0


def test_mattes_are_read_one_frame_ahead(disc) -> None:
    read = itertools.count()

    def counted() -> Iterator[np.ndarray]:
        for matte in mattes(disc, [20, 21, 22, 23]):
            next(read)
            yield matte

    next(smooth_mattes(counted()))
    assert next(read) == 2
