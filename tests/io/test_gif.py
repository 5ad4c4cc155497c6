from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.io import write_gif


def frames(count: int) -> list[np.ndarray]:
    """A square that moves on white and changes its color."""
    images = []
    for time in range(count):
        image = np.full((20, 30, 3), 255, np.uint8)
        image[4:10, 2 * time : 2 * time + 6] = (200, 10 * time, 30)
        images.append(image)
    return images


def test_round_trip(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", frames(8), 12.0)
    with Image.open(tmp_path / "a.gif") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (8, 0)
        durations = []
        for index, truth in enumerate(frames(8)):
            animation.seek(index)
            durations.append(animation.info["duration"])
            assert np.abs(np.array(animation.convert("RGB")).astype(int) - truth).max() <= 4
    assert (
        set(durations) == {80, 90} and sum(durations) == 670
    )  # in hundredths of a second, with the right total duration
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize("fps", [1e-300, 0.001, 0.0, 60.0, float("nan")])
def test_invalid_frame_rates_are_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        write_gif(tmp_path / "a.gif", frames(2), fps)


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gif.*frame"):
        write_gif(tmp_path / "a.gif", [], 10.0)
    assert not list(tmp_path.iterdir())
