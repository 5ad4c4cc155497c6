"""Where frames lie in time."""

import pytest
import torch

from ds4d.geometry import frame_times


def test_known_times() -> None:
    assert frame_times(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert frame_times(1).tolist() == [0]


@pytest.mark.parametrize("count", [2, 3, 24, 200])
def test_times_increase_from_0_to_1_exactly(count: int) -> None:
    times = frame_times(count)
    assert (times[0].item(), times[-1].item(), len(times)) == (0, 1, count)
    assert (times.diff() > 0).all()
    torch.testing.assert_close(times, torch.arange(count) / (count - 1))


@pytest.mark.parametrize("count", [0, -3])
def test_no_frames_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        frame_times(count)
