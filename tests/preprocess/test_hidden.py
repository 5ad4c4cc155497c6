"""Hidden pixels: filled from other frames, and without weight in the fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.io import write_png
from ds4d.preprocess import VideoConfig, load_video
from ds4d.preprocess.hidden import WEIGHTS_SIZE

BAR = slice(30, 36)  # columns of an occluder


@pytest.fixture
def occluded(tmp_path: Path, rolling_disc: list[np.ndarray]) -> Path:
    """A disc that rolls behind a bar."""
    for number, frame in enumerate(rolling_disc):
        shown = frame.copy()
        shown[:, BAR] = 0
        write_png(tmp_path / "video" / f"{number:03d}.png", shown)
        mask = np.zeros(frame.shape[:2], np.uint8)
        mask[:, BAR] = 255
        (tmp_path / "bar").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "bar" / f"{number:03d}.png")
    return tmp_path / "video"


def test_an_occluder_is_left_out_of_the_fit(occluded: Path, rolling_disc: list[np.ndarray]) -> None:
    loaded = load_video(occluded, VideoConfig(size=64, ignore=occluded.parent / "bar", keep="all"))
    weights = loaded.weights
    assert weights is not None and weights.shape == (12, 1, WEIGHTS_SIZE, WEIGHTS_SIZE)
    crop = loaded.crop
    left, right = ((x - crop.left) / crop.side * WEIGHTS_SIZE for x in (BAR.start, BAR.stop))
    columns = torch.arange(WEIGHTS_SIZE) + 0.5
    inside = (columns > left) & (columns < right)
    far = (columns < left - 2) | (columns > right + 2)
    middle = slice(WEIGHTS_SIZE // 2 - 8, WEIGHTS_SIZE // 2 + 8)  # the crop is higher than the video
    assert inside.any() and (weights[:, :, middle][..., inside] == 0).all() and (weights[..., far] == 1).all()
    assert load_video(occluded, VideoConfig(size=64, keep="all")).weights is None


def test_hidden_pixels_are_filled_from_the_nearest_frame_that_shows_them(tmp_path: Path) -> None:
    """A disc that stands still while a bar moves across it."""
    yy, xx = np.mgrid[:48, :64]
    disc = np.where(((xx - 32) ** 2 + (yy - 24) ** 2 < 12**2)[..., None], (200, 30, 30, 255), 0).astype(np.uint8)
    for number in range(8):
        shown, mask = disc.copy(), np.zeros((48, 64), np.uint8)
        mask[:, 16 + 4 * number : 20 + 4 * number] = 255
        shown[mask > 0] = 0
        write_png(tmp_path / "video" / f"{number}.png", shown)
        (tmp_path / "bar").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "bar" / f"{number}.png")
    loaded = load_video(tmp_path / "video", VideoConfig(size=64, ignore=tmp_path / "bar"))
    whole = loaded.crop.crop(disc)
    for time in range(8):
        assert np.abs(loaded.video.frames.read(time, 0).astype(int) - whole).max() <= 1


def test_other_hidden_pixels_are_filled_from_beside_them(occluded: Path, rolling_disc: list[np.ndarray]) -> None:
    """The bar stands still and the disc moves, so that no frame shows what is behind the bar."""
    loaded = load_video(occluded, VideoConfig(size=64, ignore=occluded.parent / "bar"))
    for time in (5, 6, 7):
        covered = loaded.video.frames.read(time, 0)[..., 3] > 127
        truth = loaded.crop.crop(rolling_disc[time])[..., 3] > 127
        assert (covered & truth).sum() / (covered | truth).sum() > 0.85


@pytest.mark.parametrize("is_cut", [True, False])
def test_beyond_a_border_that_cuts_the_object_nothing_is_known(tmp_path: Path, is_cut: bool) -> None:
    yy, xx = np.mgrid[:48, :64]
    bottom = 48 if is_cut else 40
    for number in range(8):
        body = (np.abs(xx - 28 - number) < 6) & (yy > 8) & (yy < bottom)
        write_png(tmp_path / f"{number}.png", np.where(body[..., None], (200, 30, 30, 255), 0).astype(np.uint8))
    loaded = load_video(tmp_path, VideoConfig(size=64))
    if not is_cut:
        assert loaded.weights is None
        return
    assert loaded.weights is not None
    rows = (torch.arange(WEIGHTS_SIZE) + 0.5) / WEIGHTS_SIZE * loaded.crop.side + loaded.crop.top
    assert (rows > 48).any() and (loaded.weights[:, 0, rows > 48] == 0).all()
    assert (loaded.weights[:, 0, rows < 46] == 1).all()


def test_numbers_choose_one_of_several_objects(tmp_path: Path, rolling_disc: list[np.ndarray]) -> None:
    def make(name: str, save: Callable[[np.ndarray, Path], None]) -> VideoConfig:
        for number, frame in enumerate(rolling_disc):
            opaque = frame.copy()
            opaque[..., 3] = 255
            write_png(tmp_path / "video" / f"{number:03d}.png", opaque)
            ids = np.zeros(frame.shape[:2], np.uint8)
            ids[2:10, 2:60] = 1  # larger than the disc
            ids[frame[..., 3] > 127] = 3
            (tmp_path / name).mkdir(exist_ok=True)
            save(ids, tmp_path / name / f"{number:03d}.png")
        return VideoConfig(size=64, masks=tmp_path / name, object_id=3)

    def palette(ids: np.ndarray, path: Path) -> None:
        image = Image.fromarray(ids, "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
        image.save(path)

    for name, save in (("gray", lambda ids, path: Image.fromarray(ids).save(path)), ("palette", palette)):
        loaded = load_video(tmp_path / "video", make(name, save))
        for time in (0, 7):
            covered = loaded.video.frames.read(time, 0)[..., 3] > 127
            truth = loaded.crop.crop(rolling_disc[time])[..., 3] > 127
            assert (covered & truth).sum() / (covered | truth).sum() > 0.95
    config = make("color", lambda ids, path: Image.fromarray(np.dstack([ids] * 3)).save(path))
    with pytest.raises(ValueError, match="--object-id"):
        load_video(tmp_path / "video", config)


def test_a_number_needs_masks() -> None:
    with pytest.raises(ValueError, match="--masks"):
        VideoConfig(object_id=2)
