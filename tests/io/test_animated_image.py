import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from ds4d.io import premultiply
from ds4d.io.animated_image import AnimatedImage, is_animated
from ds4d.preprocess import VideoConfig
from ds4d.preprocess.raw_video import read_raw_video

DURATIONS = [40, 80, 40, 40, 100, 40, 40, 40, 40, 40, 40, 40]
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="needs Pillow 11.3 or later, with libavif")


def write(path: Path, frames: list[np.ndarray], **settings: Any) -> Path:
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, **{"save_all": True, "append_images": images[1:], "duration": DURATIONS} | settings)
    return path


def read(path: Path, *, alpha: bool = True) -> np.ndarray:
    source = AnimatedImage(path)
    return np.stack([frame for _, frame in source.read(range(len(source.seconds)), 1000, alpha=alpha)])


@pytest.mark.parametrize(
    ("name", "settings", "tolerance"),
    [
        ("a.png", {}, 0.0),
        ("a.apng", {"format": "PNG"}, 0.0),
        ("a.webp", {"lossless": True, "exact": True}, 1.0),
        pytest.param("a.avif", {"quality": 95}, 4.0, marks=needs_avif),
    ],
)
def test_animated_images_are_read_as_videos(tmp_path: Path, rolling_disc, name, settings, tolerance: float) -> None:
    path = write(tmp_path / name, rolling_disc, **settings)
    assert is_animated(path)
    truth = np.stack([premultiply(frame) for frame in rolling_disc])
    assert np.abs(read(path).astype(int) - truth).mean() <= tolerance
    assert read(path, alpha=False)[..., 3].min() == 255
    source = AnimatedImage(path)
    assert (source.size, source.missing) == ((64, 48), 0)
    assert source.seconds == pytest.approx((np.cumsum(DURATIONS) - DURATIONS) / 1000)


def test_frames_are_selected_in_time_and_reduced(tmp_path: Path, rolling_disc) -> None:
    path = write(tmp_path / "a.webp", rolling_disc, lossless=True)
    read_back = dict(AnimatedImage(path).read([2, 7], 32, alpha=True))
    assert [frame.shape for frame in read_back.values()] == [(24, 32, 4)] * 2
    assert list(read_back) == [2, 7]
    for index, frame in read_back.items():
        assert frame[13, (14 + 3 * index) // 2, 0] > 150


def test_clips_of_animated_images(tmp_path: Path, rolling_disc) -> None:
    video = read_raw_video(write(tmp_path / "a.webp", rolling_disc, duration=50), VideoConfig())
    assert video.info.source_frames == len(video.images) == 12
    assert video.info.fps == pytest.approx(20)
    assert len(read_raw_video(write(tmp_path / "a.png", rolling_disc), VideoConfig(frames=5)).images) == 5


def test_images_of_one_frame_are_not_animated(tmp_path: Path, rolling_disc) -> None:
    for name in ("a.png", "a.webp", "a.jpg"):
        Image.fromarray(rolling_disc[0][..., :3]).save(tmp_path / name)
        assert not is_animated(tmp_path / name)
    assert not is_animated(tmp_path)
    assert not is_animated(tmp_path / "none.webp")


def test_the_image_before_an_animation_is_left_out(tmp_path: Path, rolling_disc) -> None:
    still = np.full_like(rolling_disc[0], 255)
    path = write(tmp_path / "a.png", [still, *rolling_disc], default_image=True)
    assert np.array_equal(read(path), np.stack([premultiply(frame) for frame in rolling_disc]))


def test_frames_without_duration_take_a_tenth_of_a_second(tmp_path: Path, rolling_disc) -> None:
    path = write(tmp_path / "a.png", rolling_disc, duration=0)
    assert AnimatedImage(path).seconds == pytest.approx([time / 10 for time in range(12)])


def test_truncated_animations_give_the_frames_they_have(tmp_path: Path, rng) -> None:
    path = write(tmp_path / "a.png", list(rng.integers(0, 255, (12, 48, 64, 4), dtype=np.uint8)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = AnimatedImage(path)
    assert 3 < len(source.seconds) < 9
    assert source.missing == 12 - len(source.seconds)
    assert len(list(source.read(range(len(source.seconds)), 1000, alpha=True))) == len(source.seconds)
    write(tmp_path / "a.webp", list(rng.integers(0, 255, (12, 48, 64, 4), dtype=np.uint8)), lossless=True)
    (tmp_path / "a.webp").write_bytes((tmp_path / "a.webp").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a\.webp"):
        AnimatedImage(tmp_path / "a.webp")


def test_absurd_numbers_of_frames_are_refused(tmp_path: Path, rolling_disc) -> None:
    path = write(tmp_path / "a.png", rolling_disc)
    content = path.read_bytes()
    start = content.index(b"acTL")
    control = b"acTL" + struct.pack(">2I", 2**31 - 1, 0)
    path.write_bytes(content[:start] + control + struct.pack(">I", zlib.crc32(control)) + content[start + 16 :])
    with pytest.raises(ValueError, match=r"a\.png"):
        AnimatedImage(path)
