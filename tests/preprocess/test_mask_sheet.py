import numpy as np
import pytest

from ds4d.io import write_png
from ds4d.preprocess import VideoConfig, draw_inspection, inspect_video


@pytest.fixture
def sheet(tmp_path, rolling_disc):
    """The sheet of a folder of frames."""

    def make(frames) -> np.ndarray:
        for number, frame in enumerate(frames):
            write_png(tmp_path / f"{number}.png", frame)
        return draw_inspection(inspect_video(tmp_path, VideoConfig(size=64)))

    return make


def red(image: np.ndarray) -> np.ndarray:
    return (image[..., 0] > 150) & (image[..., 1] < 90)


def test_the_sheet_shows_the_video_above_the_cut_out(sheet, rolling_disc) -> None:
    image = sheet(rolling_disc)
    assert image.shape[1] > 8 * 192
    video, cut = image[:-200], image[-200:]
    first, last = cut[:, -8 * 196 : -7 * 196], cut[:, -196:]
    middles = [np.flatnonzero(red(part).any(axis=0)).mean() / part.shape[1] for part in (first, last)]
    assert middles[0] < 0.5 < middles[1]  # it rolls to the right
    assert red(video).any()
    assert (video == (230, 60, 60)).all(axis=-1).any()  # the square that is used
    assert not (cut == (230, 60, 60)).all(axis=-1).any()


def test_unfit_videos_are_shown_too(sheet, disc) -> None:
    clear = disc(30, 24, 12)
    clear[..., 3] = 0
    image = sheet([clear] * 2)
    assert 2 * 192 < image.shape[1] < 3 * 192
    assert not red(image).any()
