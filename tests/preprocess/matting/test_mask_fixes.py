"""Corrected masks of single frames: exact there, carried over to frames with the same fault, and to no others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ds4d.io import write_png
from ds4d.preprocess import VideoConfig, inspect_video

SIZE, FRAMES, SPEED = 96, 9, 4  # pixels, frames, pixels per frame
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def body(time: int) -> np.ndarray:
    """A square with a head, which moves to the right."""
    left = 16 + SPEED * time
    square = (left <= COLUMNS) & (left + 28 > COLUMNS) & (ROWS >= 44) & (ROWS < 80)
    return square | head(time)


def head(time: int) -> np.ndarray:
    return (COLUMNS - 30 - SPEED * time) ** 2 + (ROWS - 32) ** 2 < 12**2


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A video before a soft background."""
    background = gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (6, 6, 0)) * 800 + 128
    for time in range(FRAMES):
        image = np.where(body(time)[..., None], (200, 40, 30), background)
        image[head(time)] = (40, 60, 210)
        write_png(tmp_path / "video" / f"{time:02d}.png", image.clip(0, 255).astype(np.uint8))
    for name in ("masks", "fixes"):
        (tmp_path / name).mkdir()
    return tmp_path


def save(path: Path, mask: np.ndarray) -> None:
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)


def mattes(folder: Path) -> list[np.ndarray]:
    config = VideoConfig(size=SIZE, frames=FRAMES, masks=folder / "masks", mask_fixes=folder / "fixes", keep="all")
    return [image[..., 3] > 127 for image in inspect_video(folder / "video", config).context.mattes.images]


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def test_a_part_that_is_missing_is_followed_with_its_motion(folder: Path) -> None:
    for time in range(FRAMES):
        save(folder / "masks" / f"{time:02d}.png", body(time) & ~head(time))
    save(folder / "fixes" / "frame_5.png", body(4))  # frames count from 1
    found = mattes(folder)
    assert np.array_equal(found[4], body(4))
    assert min(overlap(mask, body(time)) for time, mask in enumerate(found)) > 0.95


def test_background_that_was_taken_along_is_removed(folder: Path) -> None:
    wrong = (ROWS > 84) & (COLUMNS > 70)
    for time in range(FRAMES):
        save(folder / "masks" / f"{time:02d}.png", body(time) | wrong)
    save(folder / "fixes" / "1.png", body(0))
    assert min(overlap(mask, body(time)) for time, mask in enumerate(mattes(folder))) > 0.99


def test_frames_without_the_fault_are_left_alone(folder: Path) -> None:
    for time in range(FRAMES):
        save(folder / "masks" / f"{time:02d}.png", body(time) & ~head(time) if time == 4 else body(time))
    save(folder / "fixes" / "5.png", body(4))
    for time, mask in enumerate(mattes(folder)):
        assert np.array_equal(mask, body(time))


def test_a_part_that_disappears_is_not_invented(folder: Path) -> None:
    """After frame 4 the head's place shows another color."""
    for time in range(FRAMES):
        save(folder / "masks" / f"{time:02d}.png", body(time) & ~head(time))
        if time > 4:
            path = folder / "video" / f"{time:02d}.png"
            image = np.asarray(Image.open(path)).copy()
            image[:44, :] = (250, 250, 120)
            write_png(path, image)
    save(folder / "fixes" / "3.png", body(2))
    found = mattes(folder)
    assert min(overlap(mask, body(time)) for time, mask in enumerate(found[:5])) > 0.95
    assert all(np.array_equal(found[time], body(time) & ~head(time)) for time in range(5, FRAMES))


@pytest.mark.parametrize("name", ["fix.png", "40.png"])
def test_names_must_tell_the_frame(folder: Path, name: str) -> None:
    for time in range(FRAMES):
        save(folder / "masks" / f"{time:02d}.png", body(time))
    save(folder / "fixes" / name, body(0))
    with pytest.raises(ValueError, match="--mask-fixes"):
        mattes(folder)


def test_the_folder_must_exist(folder: Path) -> None:
    with pytest.raises(ValueError, match="--mask-fixes"):
        inspect_video(folder / "video", VideoConfig(mask_fixes=folder / "none"))
