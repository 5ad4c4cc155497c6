from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.io import write_gif


def frames(count: int) -> list[np.ndarray]:
    """A square that walks over white and changes its color."""
    images = []
    for time in range(count):
        image = np.full((20, 30, 3), 255, np.uint8)
        image[4:10, 2 * time : 2 * time + 6] = (200, 10 * time, 30)
        images.append(image)
    return images


def test_an_animation_comes_back_as_it_was(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", frames(8), 12.0)
    with Image.open(tmp_path / "a.gif") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (8, 0)
        pauses = []
        for index, truth in enumerate(frames(8)):
            animation.seek(index)
            pauses.append(animation.info["duration"])
            assert np.abs(np.array(animation.convert("RGB")).astype(int) - truth).max() <= 4
    assert set(pauses) == {80, 90} and sum(pauses) == 670  # hundredths of a second, the whole as long as it should be
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize("fps", [0.0, 60.0, float("nan")])
def test_rates_that_players_do_not_keep_are_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0 and at most 50"):
        write_gif(tmp_path / "a.gif", frames(2), fps)


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gif must have at least one frame"):
        write_gif(tmp_path / "a.gif", [], 10.0)
    assert not list(tmp_path.iterdir())
