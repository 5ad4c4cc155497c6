import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds4d.preprocess import VideoConfig
from ds4d.preprocess.frame_selection import select_frames


def at(rate: float, count: int) -> list[float]:
    return [index / rate for index in range(count)]


@pytest.mark.parametrize(
    ("config", "selected"),
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
def test_frames_of_a_four_second_video(config: VideoConfig, selected: list[int]) -> None:
    assert select_frames(at(10, 41), config) == selected


def test_long_videos_give_32_evenly_spaced_frames() -> None:
    selected = select_frames(at(30, 10_000), VideoConfig())
    assert (len(selected), selected[0], selected[-1]) == (32, 0, 9_999)
    assert set(np.diff(selected)) <= {322, 323}


def test_variable_frame_rates_are_resampled_by_time() -> None:
    seconds = [*at(100, 101), 1.25, 1.5, 1.75, 2.0]  # a hundred frames in the first second, four in the second
    assert [seconds[index] for index in select_frames(seconds, VideoConfig(frames=9))] == [0.25 * i for i in range(9)]
    paused = [0.0, 0.1, 0.2, 2.0]  # no new frame in between: the clip repeats one
    assert select_frames(paused, VideoConfig(frames=4)) == [0, 2, 3, 3]


@given(
    gaps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=60),
    frames=st.integers(1, 80),
    start=st.floats(0.0, 1.0),
)
def test_selected_frames_are_the_nearest_in_time(gaps: list[float], frames: int, start: float) -> None:
    seconds = np.cumsum([0.0, *gaps])
    inside = np.flatnonzero(seconds >= start - 1e-6)  # containers round times
    if len(inside) == 0:
        return
    selected = select_frames(seconds.tolist(), VideoConfig(start=start, frames=frames))
    assert len(selected) == min(frames, len(inside))
    assert (np.diff(selected) >= 0).all()
    targets = np.linspace(seconds[inside[0]], seconds[-1], len(selected))
    nearest = np.abs(targets[:, None] - seconds[inside]).min(axis=1)
    assert np.abs(targets - seconds[selected]) == pytest.approx(nearest)


@pytest.mark.parametrize(
    ("rate", "count", "settings", "option"),
    [
        (10, 41, {"start": 9.0}, "--start"),
        (10, 41, {"start": 1.01, "end": 1.02}, "--end"),
        (10, 41, {"fps": 24.0}, "--fps"),
        (30, 10_001, {"fps": 30.0}, "10000 frames"),
        (30, 10_100, {"frames": 10_050}, "10000 frames"),
    ],
)
def test_impossible_selections_are_refused(rate: float, count: int, settings: dict, option: str) -> None:
    with pytest.raises(ValueError, match=option):
        select_frames(at(rate, count), VideoConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"start": -1.0}, "start"),
        ({"start": 2.0, "end": 1.0}, "--end"),
        ({"fps": 0.0}, "fps"),
        ({"frames": 0}, "frames"),
        ({"size": 4}, "size"),
        ({"fill": 1.5}, "fill"),
    ],
)
def test_invalid_settings_are_refused(settings: dict, argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        VideoConfig(**settings)
