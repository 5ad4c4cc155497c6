import numpy as np

from ds4d.preprocess.matting.smoothing import steady_mattes


def mattes(disc, lefts: list[int]) -> list[np.ndarray]:
    return [disc(left, 26, 12)[..., 3].astype(np.float32) / 255 for left in lefts]


def test_steady_mattes_stay_as_they_are(disc) -> None:
    given = mattes(disc, [14 + 3 * time for time in range(8)])
    assert all(np.array_equal(a, b) for a, b in zip(given, steady_mattes(given), strict=True))


def test_a_hole_that_lasts_one_frame_is_filled(disc) -> None:
    given = mattes(disc, [20, 21, 22, 23, 24])
    broken = [matte.copy() for matte in given]
    broken[2][26:] = 0
    steadied = steady_mattes(broken)
    assert np.array_equal(steadied[1], broken[1])
    missing = (given[2] > 0.5) & (steadied[2] < 0.5)
    assert missing.sum() < 0.08 * (given[2] > 0.5).sum()


def test_a_blob_that_lasts_one_frame_goes(disc) -> None:
    given = mattes(disc, [20, 20, 20])
    given[1] = np.maximum(given[1], disc(52, 20, 8)[..., 3].astype(np.float32) / 255)
    assert (steady_mattes(given)[1] > 0.5).sum() == (given[0] > 0.5).sum()


def test_motion_is_no_flicker() -> None:
    """A bar that swings fast: in each frame it is where it is neither before nor after."""
    given = []
    for time in range(5):
        matte = np.zeros((48, 64), np.float32)
        matte[20:40, 4:24] = 1
        matte[4:20, 8 + 10 * time : 14 + 10 * time] = 1
        given.append(matte)
    assert all(np.array_equal(a, b) for a, b in zip(given, steady_mattes(given), strict=True))


def test_pinholes_are_closed_and_openings_stay(disc) -> None:
    matte = disc(40, 40, 30, size=(80, 80))[..., 3].astype(np.float32) / 255
    matte[40, 40] = 0
    assert steady_mattes([matte])[0][40, 40] == 1
    matte[36:44, 36:44] = 0
    assert steady_mattes([matte])[0][40, 40] == 0


def test_the_given_mattes_are_left_alone(disc) -> None:
    (matte,) = mattes(disc, [30])
    matte[26, 30] = 0
    steady_mattes([matte])
    assert matte[26, 30] == 0
