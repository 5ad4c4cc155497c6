"""Playback: speeds, and the start after the end."""

import pytest

from ds4d.viewer.panel import advance_time


@pytest.mark.parametrize(
    ("time", "seconds", "duration", "speed", "expected"),
    [
        (0.0, 1.0, 4.0, 1.0, 0.25),
        (0.5, 1.0, 4.0, 2.0, 1.0),  # the last frame is shown
        (0.75, 2.0, 4.0, 1.0, 0.25),
        (0.5, 100.0, 1.0, 1.0, 0.5),  # after a long pause
        (0.3, 0.0, 4.0, 1.0, 0.3),
        (0.0, 1.0, 2.0, 0.1, 0.05),
    ],
)
def test_advance_time(time: float, seconds: float, duration: float, speed: float, expected: float) -> None:
    assert advance_time(time, seconds, duration=duration, speed=speed) == pytest.approx(expected)
