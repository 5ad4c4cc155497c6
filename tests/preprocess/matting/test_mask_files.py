"""Masks of other programs, in the ways in which they write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds4d.preprocess import VideoConfig, inspect_video, load_video

TIMES = range(12)


@pytest.fixture
def video(write_video_file, rolling_disc, over, rng) -> Path:
    """A red disc that rolls in front of noise, which no other method could remove."""
    noise = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return write_video_file("a.mkv", [over(frame, noise) for frame in rolling_disc], codec="ffv1", pix_fmt="bgra")


def alpha_of(rgba: np.ndarray) -> np.ndarray:
    return rgba[..., 3]


def gray(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(alpha)


def cut_out(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack((np.full((*alpha.shape, 3), 90, np.uint8), alpha)))


def number(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.where(alpha > 127, 2, 0).astype(np.uint8))


def palette(alpha: np.ndarray) -> Image.Image:
    image = Image.fromarray(np.where(alpha > 127, 1, 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])  # as in DAVIS
    return image


def large(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(alpha).resize((192, 144), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", [gray, cut_out, number, palette, large], ids=lambda kind: kind.__name__)
def test_masks_separate_the_object(
    video: Path, tmp_path: Path, rolling_disc, kind: Callable[[np.ndarray], Image.Image]
) -> None:
    (tmp_path / "masks").mkdir()
    for time, frame in enumerate(rolling_disc):
        kind(alpha_of(frame)).save(tmp_path / "masks" / f"{time}.png")
    inspection = inspect_video(video, VideoConfig(masks=tmp_path / "masks"))
    assert inspection.context.mattes.method == "masks"
    for matte, frame in zip(inspection.context.mattes.images, rolling_disc, strict=True):
        inside, outside = frame[..., 3] == 255, frame[..., 3] == 0
        assert np.mean(matte[inside][:, 3] > 230) > 0.95 and np.mean(matte[outside][:, 3] == 0) > 0.95
        assert np.median(np.abs(matte[inside][:, :3].astype(int) - (200, 40, 30))) < 6


def write_masks(folder: Path, rolling_disc: list[np.ndarray], times: list[int]) -> Path:
    folder.mkdir()
    for time in times:
        gray(alpha_of(rolling_disc[time])).save(folder / f"mask_{time}.png")
    return folder


def test_masks_belong_to_the_frames_of_the_video_or_to_the_selected_ones(
    video: Path, tmp_path: Path, rolling_disc
) -> None:
    every = write_masks(tmp_path / "every", rolling_disc, list(TIMES))
    selected = write_masks(tmp_path / "selected", rolling_disc, [0, 4, 7, 11])
    some = [
        load_video(video, VideoConfig(masks=masks, frames=4, size=64)).video.frames.read(2, 0)
        for masks in (every, selected)
    ]
    assert np.array_equal(*some) and (some[0][..., 3] > 250).any()


def test_masks_that_do_not_fit_are_refused(video: Path, tmp_path: Path, rolling_disc) -> None:
    few = write_masks(tmp_path / "few", rolling_disc, [0, 1, 2])
    with pytest.raises(ValueError, match=r"--masks .* 12 .* 3"):
        load_video(video, VideoConfig(masks=few))
    cropped = write_masks(tmp_path / "cropped", [frame[:, :40] for frame in rolling_disc], list(TIMES))
    with pytest.raises(ValueError, match=r"--masks .* 40 x 48"):
        load_video(video, VideoConfig(masks=cropped))
    with pytest.raises(ValueError, match="--masks"):
        load_video(video, VideoConfig(masks=tmp_path / "none"))
    with pytest.raises(ValueError, match=r"--matting .* --masks"):
        VideoConfig(masks=few, matting="color")
