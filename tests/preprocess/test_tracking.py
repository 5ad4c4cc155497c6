import numpy as np

from ds4d.preprocess.tracking import ComponentTracks


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of boxes (top, left, height, width)."""
    mask = np.zeros((20, 40), bool)
    for top, left, height, width in corners:
        mask[top : top + height, left : left + width] = True
    return mask


def test_moving_component_is_one_track() -> None:
    masks = [boxes((2, 2 + 3 * time, 6, 6), (12, 30, 5, 5)) for time in range(5)]
    tracked = ComponentTracks(masks)
    assert tracked.count == 2
    assert [len(set(tracks)) for tracks in tracked.tracks] == [2] * 5
    first = np.zeros(tracked.count, bool)
    first[tracked.tracks[0][tracked.labels[0][4, 4] - 1]] = True
    for mask, selected in zip(masks, tracked.select(first), strict=True):
        assert np.array_equal(selected, mask & (np.arange(20) < 10)[:, None])


def test_split_component_keeps_its_parts() -> None:
    whole, parts = boxes((4, 4, 6, 30)), boxes((4, 4, 6, 12), (4, 22, 6, 12))
    tracked = ComponentTracks([whole, parts, whole])
    assert tracked.count == 1
    assert tracked.areas[1].tolist() == [72, 72]


def test_jump_starts_a_new_track() -> None:
    tracked = ComponentTracks([boxes((2, 2, 6, 6)), boxes((2, 7, 6, 6)), boxes((2, 30, 6, 6))])
    assert tracked.count == 3  # the first two overlap by a sixth


def test_tracks_depend_on_time_order_only() -> None:
    """A component that returns to an earlier position after a jump is another track."""
    here, there = boxes((2, 2, 6, 6)), boxes((2, 30, 6, 6))
    assert ComponentTracks([here, there, here]).count == 3


def test_frames_without_components() -> None:
    tracked = ComponentTracks([boxes(), boxes((2, 2, 3, 3)), boxes()])
    assert (tracked.count, [len(tracks) for tracks in tracked.tracks]) == (1, [0, 1, 0])
    assert not next(ComponentTracks([boxes()]).select(np.zeros(0, bool))).any()


def test_masks_are_read_once() -> None:
    assert ComponentTracks(boxes((2, 2 + time, 6, 6)) for time in range(3)).count == 1
