import numpy as np
import pytest

from ds4d.io import write_png
from ds4d.preprocess import VideoConfig, inspect_video, make_mask_sheet

CROP_COLOR = (230, 60, 60)


@pytest.fixture
def sheet(tmp_path):
    """Makes the mask sheet of frames."""

    def make(frames) -> np.ndarray:
        for number, frame in enumerate(frames):
            write_png(tmp_path / f"{number}.png", frame)
        return make_mask_sheet(inspect_video(tmp_path, VideoConfig(size=64)))

    return make


def red(image: np.ndarray) -> np.ndarray:
    return (image[..., 0] > 150) & (image[..., 1] < 90)


def test_mattes_are_below_the_frames(sheet, rolling_disc) -> None:
    image = sheet(rolling_disc)
    assert image.shape[1] > 8 * 192
    frames, mattes = image[:-200], image[-200:]
    first, last = mattes[:, -8 * 196 : -7 * 196], mattes[:, -196:]
    middles = [np.flatnonzero(red(part).any(axis=0)).mean() / part.shape[1] for part in (first, last)]
    assert middles[0] < 0.5 < middles[1]  # the disc moves to the right
    assert red(frames).any()
    assert (frames == CROP_COLOR).all(axis=-1).any()
    assert not (mattes == CROP_COLOR).all(axis=-1).any()


def test_sheet_of_an_unusable_video(sheet, disc) -> None:
    transparent = disc(30, 24, 12)
    transparent[..., 3] = 0
    image = sheet([transparent] * 2)
    assert 2 * 192 < image.shape[1] < 3 * 192
    assert not red(image).any()
