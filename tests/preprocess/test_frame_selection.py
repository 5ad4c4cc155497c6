import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds4d.preprocess import VideoConfig
from ds4d.preprocess.frame_selection import choose_frames


def at(rate: float, count: int) -> list[float]:
    return [index / rate for index in range(count)]


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        (VideoConfig(frames=5), [0, 10, 20, 30, 40]),
        (VideoConfig(frames=99), list(range(41))),
        (VideoConfig(frames=1), [0]),
        (VideoConfig(fps=5.0), list(range(0, 41, 2))),
        (VideoConfig(fps=5.0, frames=3), [0, 2, 4]),
        (VideoConfig(fps=10.0), list(range(41))),
        (VideoConfig(start=1.0, end=2.0), list(range(10, 21))),
        (VideoConfig(start=1.0, end=2.0, frames=3), [10, 15, 20]),
        (VideoConfig(start=3.85), [39, 40]),
        (VideoConfig(start=1.0, end=1.0), [10]),
    ],
)
def test_frames_of_a_video_of_four_seconds(config: VideoConfig, chosen: list[int]) -> None:
    assert choose_frames(at(10, 41), config) == chosen


def test_thirty_two_frames_are_taken_evenly_of_a_long_video() -> None:
    chosen = choose_frames(at(30, 10_000), VideoConfig())
    assert (len(chosen), chosen[0], chosen[-1]) == (32, 0, 9_999)
    assert set(np.diff(chosen)) <= {322, 323}


def test_frames_are_chosen_by_time_where_the_rate_varies() -> None:
    seconds = [*at(100, 101), 1.25, 1.5, 1.75, 2.0]  # a hundred frames in the first second, four in the second
    assert [seconds[index] for index in choose_frames(seconds, VideoConfig(frames=9))] == [0.25 * i for i in range(9)]
    held = [0.0, 0.1, 0.2, 2.0]  # the video stands still in between: so does the clip
    assert choose_frames(held, VideoConfig(frames=4)) == [0, 2, 3, 3]


@given(
    gaps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=60),
    frames=st.integers(1, 80),
    start=st.floats(0.0, 1.0),
)
def test_choices_rise_and_lie_as_near_as_they_can(gaps: list[float], frames: int, start: float) -> None:
    seconds = np.cumsum([0.0, *gaps])
    inside = np.flatnonzero(seconds >= start - 1e-6)  # containers round times
    if len(inside) == 0:
        return
    chosen = choose_frames(seconds.tolist(), VideoConfig(start=start, frames=frames))
    assert len(chosen) == min(frames, len(inside))
    assert (np.diff(chosen) >= 0).all()
    targets = np.linspace(seconds[inside[0]], seconds[-1], len(chosen))
    nearest = np.abs(targets[:, None] - seconds[inside]).min(axis=1)
    assert np.abs(targets - seconds[chosen]) == pytest.approx(nearest)


def test_a_part_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one frame, got 9 s to the end of a video that lasts to 4\.00 s"):
        choose_frames(at(10, 41), VideoConfig(start=9.0))
    with pytest.raises(ValueError, match=r"at least one frame, got 1\.01 s to 1\.02 s"):
        choose_frames(at(10, 41), VideoConfig(start=1.01, end=1.02))


def test_a_rate_above_the_videos_is_refused() -> None:
    with pytest.raises(ValueError, match="--fps must be at most the video's own rate, 10, got 24"):
        choose_frames(at(10, 41), VideoConfig(fps=24.0))


def test_more_frames_than_can_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 500 frames, got 10000\. Give --frames, a lower --fps"):
        choose_frames(at(30, 10_000), VideoConfig(fps=30.0))
    with pytest.raises(ValueError, match="at most 500 frames, got 4000"):
        choose_frames(at(30, 10_000), VideoConfig(frames=4000))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start": -1.0}, "start must be"),
        ({"start": 2.0, "end": 1.0}, "end must not lie before start, got 1.0 and 2.0"),
        ({"fps": 0.0}, "fps must be"),
        ({"frames": 0}, "frames must be"),
        ({"size": 4}, "size must be"),
        ({"fill": 1.5}, "fill must be"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        VideoConfig(**settings)
