"""Division of long clips into windows."""

import itertools

import pytest

from ds4d.training import WindowsConfig, divide_frames


@pytest.mark.parametrize("count", [2, 7, 13, 100, 101, 109, 193, 201, 999, 2000, 10_000])
@pytest.mark.parametrize("sizes", [(100, 8), (7, 2), (60, 20), (300, 2)])
def test_windows_cover_the_clip_and_overlap_as_asked(count: int, sizes: tuple[int, int]) -> None:
    config = WindowsConfig(frames=sizes[0], overlap=sizes[1])
    windows = divide_frames(count, config)
    assert (windows[0].start, windows[-1].stop) == (0, count)
    assert all(len(window) <= config.frames for window in windows)
    assert all(a.stop - b.start == config.overlap and a.start < b.start for a, b in itertools.pairwise(windows))
    assert all(a.stop <= b.start for a, b in zip(windows, windows[2:], strict=False)), "no frame is in three"
    assert any(window.start + len(window) // 2 == count // 2 for window in windows)
    assert len(windows) <= 2 + 2 * count // config.frames


def test_an_overlap_that_would_put_frames_into_three_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        WindowsConfig(frames=60, overlap=21)
