import numpy as np

from ds4d.preprocess.tracks import RegionTracks


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of boxes (top, left, height, width)."""
    mask = np.zeros((20, 40), bool)
    for top, left, height, width in places:
        mask[top : top + height, left : left + width] = True
    return mask


def test_a_moving_region_is_one_track_and_a_distant_one_another() -> None:
    masks = [boxes((2, 2 + 3 * time, 6, 6), (12, 30, 5, 5)) for time in range(5)]
    tracks = RegionTracks(masks)
    assert [len(set(names)) for names in tracks.names] == [2] * 5
    assert len({name for names in tracks.names for name in names}) == 2
    first = np.zeros(tracks.count, bool)
    first[tracks.names[0][tracks.labels[0][4, 4] - 1]] = True
    for mask, selected in zip(masks, tracks.select(first), strict=True):
        assert np.array_equal(selected, mask & (np.arange(20) < 10)[:, None])


def test_a_region_that_falls_apart_keeps_its_parts() -> None:
    whole, parts = boxes((4, 4, 6, 30)), boxes((4, 4, 6, 12), (4, 22, 6, 12))
    tracks = RegionTracks([whole, parts, whole])
    assert {name for names in tracks.names for name in names} == {tracks.names[0][0]}
    assert tracks.areas[1].tolist() == [72, 72]


def test_a_jump_begins_a_new_track() -> None:
    tracks = RegionTracks([boxes((2, 2, 6, 6)), boxes((2, 7, 6, 6)), boxes((2, 30, 6, 6))])
    assert tracks.names[0][0] != tracks.names[1][0]  # a sixth of it is shared
    assert tracks.names[1][0] != tracks.names[2][0]


def test_frames_without_regions() -> None:
    tracks = RegionTracks([boxes(), boxes((2, 2, 3, 3)), boxes()])
    assert (tracks.count, [len(names) for names in tracks.names]) == (1, [0, 1, 0])
    assert not RegionTracks([boxes()]).select(np.zeros(0, bool))[0].any()
