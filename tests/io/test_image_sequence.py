import base64
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from ds4d.core import notices_to
from ds4d.io import premultiply, write_png
from ds4d.io.image_sequence import ImageSequence


def write_gray(path: Path, level: int, *, size: tuple[int, int] = (20, 16), alpha: int = 255) -> None:
    pixels = np.full((size[1], size[0], 4), level, np.uint8)
    pixels[..., 3] = alpha
    write_png(path, pixels)


def read(path: Path, *, alpha: bool = True) -> np.ndarray:
    source = ImageSequence(path, None)
    return np.stack([frame for _, frame in source.read(range(len(source.seconds)), 1000, alpha=alpha)])


@pytest.mark.parametrize("pattern", ["{}.png", "{}_rgba.png", "frame{}.png", "take2_{}.png", "ref/{}_rgba.png"])
def test_frames_are_sorted_by_number(tmp_path: Path, pattern: str) -> None:
    for number in (10, 9, 2, 100):
        write_gray(tmp_path / pattern.format(number), number)
    assert read(tmp_path)[:, 0, 0, 0].tolist() == [2, 9, 10, 100]


@pytest.mark.parametrize(
    ("numbers", "after"), [((1, 2, 3, 5, 8), "img_003"), ((1, 2, 3), None), ((0, 9, 19, 28), None), ((7,), None)]
)
def test_gaps_in_the_numbers_are_reported(tmp_path: Path, numbers: tuple[int, ...], after: str | None) -> None:
    """Not those of frames that were chosen evenly, with rounding."""
    for number in numbers:
        write_gray(tmp_path / f"img_{number:03d}.png", number)
    with notices_to((notices := []).append):
        read(tmp_path)
    assert len(notices) == (after is not None) and all(after in notice.message for notice in notices)


def test_names_without_numbers_are_sorted_and_other_files_ignored(tmp_path: Path) -> None:
    for level, name in enumerate(("a.png", "b.png", "c.png")):
        write_gray(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._a.png").write_text("left by some systems")
    assert read(tmp_path)[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_images_are_premultiplied_unless_alpha_is_ignored(tmp_path: Path, disc) -> None:
    write_png(tmp_path / "0.png", disc(20, 20, 9))
    assert np.array_equal(read(tmp_path)[0], premultiply(disc(20, 20, 9)))
    assert read(tmp_path, alpha=False)[0, 0, 0].tolist() == [200, 40, 30, 255]


def test_jpegs_and_single_images(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (250, 0, 0)).save(tmp_path / "7.jpg")
    frames = read(tmp_path / "7.jpg")
    assert frames.shape == (1, 20, 30, 4)
    assert np.array_equal(read(tmp_path), frames)


def test_times_follow_the_frame_rate(tmp_path: Path) -> None:
    for number in range(3):
        write_gray(tmp_path / f"{number}.png", number)
    assert ImageSequence(tmp_path, 10.0).seconds == [0, 0.1, 0.2]
    assert ImageSequence(tmp_path, None).seconds == [0, 1 / 24, 2 / 24]


def test_large_images_are_reduced(tmp_path: Path) -> None:
    Image.new("L", (7680, 960), 100).save(tmp_path / "0.jpg")
    source = ImageSequence(tmp_path, None)
    ((_, frame),) = source.read([0], 512, alpha=True)
    assert (source.size, frame.shape) == ((7680, 960), (64, 512, 4))


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images"):
        ImageSequence(tmp_path, None)


def test_two_sequences_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in ("0.png", "1.png", "0_mask.png"):
        write_gray(tmp_path / name, 9)
    with pytest.raises(ValueError, match="# and #_mask"):
        ImageSequence(tmp_path, None)


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_gray(tmp_path / "0.png", 9)
    write_gray(tmp_path / "1.png", 9, size=(20, 18))
    with pytest.raises(ValueError, match=r"20 x 16 in 0\.png and 20 x 18 in 1\.png"):
        ImageSequence(tmp_path, None)


def test_damaged_images_are_named(tmp_path: Path) -> None:
    write_gray(tmp_path / "0.png", 9)
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"1\.png"):
        read(tmp_path)


def test_images_do_not_need_pyav(tmp_path: Path, disc) -> None:
    for number in range(3):
        write_png(tmp_path / f"{number}.png", disc(20 + number, 20, 9))
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from ds4d.preprocess import VideoConfig, load_video\n"
        f"print(load_video({str(tmp_path)!r}, VideoConfig(size=32)).video.num_times)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]


def test_signs_that_only_look_like_numbers_are_letters(tmp_path: Path) -> None:
    for name, level in (("\u00b21.png", 10), ("\u00b22.png", 20), ("\u00b210.png", 30)):
        write_gray(tmp_path / name, level)
    assert read(tmp_path)[:, 0, 0, 0].tolist() == [10, 20, 30]


HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    "AERAAAEAAQAAAAABegABAAAAAAAAAC4AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3"
    "aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAA"
    "AwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBw"
    "aXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAADZtZGF0AAAAKigBrwY4Wvz9N/iWB///sox6H+igKbFL+nFppf7JIX//uus/HxhpX"
    "/Z1fg=="
)  # 64 x 64 pixels, the left half (200, 40, 30), the right one (30, 60, 190); by libheif


def test_heic_folders(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif", reason="needs the extra `heic`")
    for number in (10, 9):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(base64.b64decode(HEIC))
    frames = read(tmp_path)
    assert frames.shape == (2, 64, 64, 4)
    assert frames[1, 32, 8].tolist() == pytest.approx([200, 40, 30, 255], abs=4)
    assert frames[1, 32, 56].tolist() == pytest.approx([30, 60, 190, 255], abs=4)


def test_damaged_heic_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif", reason="needs the extra `heic`")
    (tmp_path / "a.heic").write_bytes(base64.b64decode(HEIC)[:200])
    with pytest.raises(ValueError, match=r"a\.heic"):
        read(tmp_path / "a.heic")


def test_heic_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "a.heic").write_bytes(base64.b64decode(HEIC))
    with pytest.raises(ImportError, match=r"\[heic\]"):
        read(tmp_path)


@pytest.mark.skipif(not features.check("avif"), reason="needs Pillow 11.3 or later, with libavif")
def test_avif_folders(tmp_path: Path, disc) -> None:
    for number in (10, 9):
        Image.fromarray(disc(20 + number, 20, 9)).save(tmp_path / f"{number}.avif", quality=95)
    frames = read(tmp_path)
    for frame, number in zip(frames, (9, 10), strict=True):
        assert np.abs(frame.astype(int) - premultiply(disc(20 + number, 20, 9))).mean() < 4
