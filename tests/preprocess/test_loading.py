import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ds4d.core import notices_to
from ds4d.io import premultiply, write_png
from ds4d.preprocess import LoadedVideo, VideoConfig, frame_selection, inspect_video, load_video, raw_video
from ds4d.types import Frames, Video

WHITE = (255, 255, 255)
CONFIG = VideoConfig(size=64)


def images(loaded: LoadedVideo) -> np.ndarray:
    frames = loaded.video.frames
    return np.stack([frames.read(time, 0) for time in range(frames.num_times)])


def write_folder(folder: Path, frames: list[np.ndarray]) -> Path:
    for number, frame in enumerate(frames):
        write_png(folder / f"{number}.png", frame)
    return folder


def truth(loaded: LoadedVideo, frames: list[np.ndarray]) -> np.ndarray:
    return np.stack([loaded.crop.crop(premultiply(frame)) for frame in frames])


def names(loaded: LoadedVideo) -> list[str]:
    return [finding.name for finding in loaded.findings]


def load_clean(path: Path, config: VideoConfig) -> LoadedVideo:
    """Loads a video that must have no findings."""
    loaded = load_video(path, config)
    assert loaded.findings == ()
    return loaded


@pytest.mark.parametrize("kind", ["webm", "folder", "white mp4", "white folder"])
def test_all_kinds_of_input_give_the_same_clip(tmp_path: Path, write_video_file, rolling_disc, over, kind: str) -> None:
    on_white = [over(frame, WHITE) for frame in rolling_disc]
    if kind == "webm":
        path = write_video_file("a.webm", rolling_disc, codec="libvpx-vp9", pix_fmt="yuva420p", options={"crf": "10"})
    elif kind == "white mp4":
        path = write_video_file("a.mp4", on_white, options={"crf": "10"})
    else:
        path = write_folder(tmp_path / "frames", on_white if kind == "white folder" else rolling_disc)
    loaded = load_clean(path, VideoConfig(size=64, fps=10.0))
    assert isinstance(loaded.video, Video) and isinstance(loaded.video.frames, Frames)
    assert (loaded.video.num_times, loaded.video.frames.num_views) == (12, 1)
    assert (loaded.video.frames.width, loaded.video.frames.height) == (64, 64)
    assert loaded.video.fps == pytest.approx(10)
    assert loaded.seconds == pytest.approx([time / 10 for time in range(12)])
    got = images(loaded)
    assert (got[..., :3] <= got[..., 3:]).all()
    error = np.abs(got.astype(int) - truth(loaded, rolling_disc))
    assert error.mean() < 2.5
    assert ((got[..., 3] > 127) != (truth(loaded, rolling_disc)[..., 3] > 127)).mean() < 0.02
    assert (loaded.crop.video_width, loaded.crop.video_height) == (64, 48)


def test_selected_frames_and_times(tmp_path: Path, rolling_disc) -> None:
    folder = write_folder(tmp_path, rolling_disc)
    loaded = load_video(folder, VideoConfig(size=64, fps=10.0, start=0.3, frames=3))
    assert "few_frames" in names(loaded)
    assert loaded.seconds == pytest.approx([0.3, 0.4, 0.5])
    assert np.array_equal(images(loaded), truth(loaded, rolling_disc[3:6]))


def test_findings_are_returned_without_notices(tmp_path: Path, rolling_disc) -> None:
    folder = write_folder(tmp_path, rolling_disc[:3])
    with notices_to((notices := []).append):
        assert load_video(folder, CONFIG).findings
    assert notices == []


def test_real_folder_with_alpha(data_dir: Path) -> None:
    loaded = load_clean(data_dir / "trex", VideoConfig(size=128))
    assert (loaded.video.num_times, loaded.video.fps) == (32, pytest.approx(24))
    alpha = images(loaded)[..., 3] > 127
    columns, rows = (np.flatnonzero(alpha.any(axis=axes)) for axes in ((0, 1), (0, 2)))
    assert (columns[-1] - columns[0] + 1) / 128 == pytest.approx(0.85, abs=0.02)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(63.5, abs=1)


def test_stag4d_folder_gives_its_input_view(data_dir: Path) -> None:
    loaded = load_video(data_dir / "minions", VideoConfig(size=64, frames=8))
    assert loaded.video.num_times == 8
    assert 0.3 < (images(loaded)[..., 3] > 127).mean() < 0.7


def test_one_image_is_a_clip_of_one_frame(tmp_path: Path, disc) -> None:
    write_png(tmp_path / "a.png", disc(30, 24, 12))
    loaded = load_video(tmp_path / "a.png", CONFIG)
    assert "few_frames" in names(loaded)
    assert loaded.video.num_times == 1
    assert loaded.video.fps == 24


def test_transparent_videos_are_refused(tmp_path: Path, disc) -> None:
    transparent = disc(30, 24, 12)
    transparent[..., 3] = 0
    folder = write_folder(tmp_path, [transparent] * 9)
    with pytest.raises(ValueError, match="ds4d check"):
        load_video(folder, CONFIG)
    inspection = inspect_video(folder, CONFIG)
    assert not inspection.is_usable and inspection.context.crop is None
    assert inspection.findings[0].name == "no_foreground"


def test_opaque_alpha_is_ignored(tmp_path: Path, rolling_disc, over) -> None:
    opaque = [np.dstack((over(frame, WHITE), np.full((48, 64), 255, np.uint8))) for frame in rolling_disc]
    inspection = inspect_video(write_folder(tmp_path, opaque), CONFIG)
    assert inspection.context.mattes.method == "color"
    assert inspection.findings == ()


def test_inverted_alpha_is_refused_unless_ignored(tmp_path: Path, rolling_disc, over) -> None:
    inverted = [np.dstack((over(frame, WHITE), 255 - frame[..., 3])) for frame in rolling_disc]
    folder = write_folder(tmp_path, inverted)
    with pytest.raises(ValueError, match="inverted"):
        load_video(folder, CONFIG)
    loaded = load_clean(folder, VideoConfig(size=64, matting="color"))
    assert ((images(loaded)[..., 3] > 127) != (truth(loaded, rolling_disc)[..., 3] > 127)).mean() < 0.01


def test_faint_alpha_is_cleared(tmp_path: Path, rolling_disc) -> None:
    noisy = [frame.copy() for frame in rolling_disc]
    for frame in noisy:
        frame[frame[..., 3] == 0] = (127, 127, 127, 1)
    loaded = load_clean(write_folder(tmp_path, noisy), CONFIG)
    assert np.array_equal(images(loaded)[0, 0, 0], [0, 0, 0, 0])


def test_object_that_leaves_the_image(tmp_path: Path, disc) -> None:
    frames = [disc(14 + 8 * time, 26, 9) for time in range(12)]  # outside on the right after nine frames
    folder = write_folder(tmp_path, frames)
    with pytest.raises(ValueError, match="4 of 12"):
        load_video(folder, CONFIG)
    loaded = load_video(folder, VideoConfig(size=64, end=0.3))
    assert "cut_by_border" in names(loaded)
    assert loaded.video.num_times == 8


def test_two_objects(tmp_path: Path, disc) -> None:
    larger = [disc(20, 16 + time, 12, size=(90, 48)) for time in range(12)]
    frames = [np.maximum(frame, disc(70, 24, 8, size=(90, 48))) for frame in larger]
    folder = write_folder(tmp_path, frames)
    loaded = load_video(folder, CONFIG)
    assert "several_objects" in names(loaded)
    assert images(loaded)[..., 3].any(axis=(0, 2)).mean() > 0.8  # the crop is around the larger one alone
    both = load_clean(folder, VideoConfig(size=64, keep="all"))
    second = (images(both)[:, :, 40:, 3] > 127).sum(axis=(1, 2))
    assert second == pytest.approx(np.full(12, np.pi * (8 * 64 / both.crop.side) ** 2), rel=0.1)


def test_error_names_all_fatal_findings(tmp_path: Path, disc) -> None:
    transparent, full = disc(30, 24, 12), np.full((48, 64, 4), 255, np.uint8)
    transparent[..., 3] = 0
    with pytest.raises(ValueError, match=r"missing in 1 of 3.* whole image in 1 of 3"):
        load_video(write_folder(tmp_path, [disc(30, 24, 12), transparent, full]), CONFIG)


def test_ten_thousand_frames_give_32(write_video_file, disc, over, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = [over(disc(14 + 3 * time, 26, 9), WHITE) for time in range(12)]
    path = write_video_file(
        "a.avi", [positions[time // 900] for time in range(10_000)], codec="mpeg4", options={"q": "2"}
    )
    loaded = load_video(path, CONFIG)
    assert "repeated_frames" in names(loaded)
    assert loaded.video.num_times == 32
    assert loaded.seconds[-1] == pytest.approx(999.9)
    assert loaded.video.fps == pytest.approx(31 / 999.9)
    monkeypatch.setattr(frame_selection, "_MAX_FRAMES", 9_999)
    with pytest.raises(ValueError, match="9999 frames, got 10000"):
        load_video(path, VideoConfig(fps=10.0))


def test_long_clips_are_read_at_a_lower_resolution(monkeypatch: pytest.MonkeyPatch, tmp_path, rolling_disc) -> None:
    folder = write_folder(tmp_path, [np.repeat(np.repeat(frame, 4, 0), 4, 1) for frame in rolling_disc])
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (144, 192, 4)  # three times the crop's size
    monkeypatch.setattr(raw_video, "_MAX_BYTES", 12 * 4 * 100**2)
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (75, 100, 4)
    monkeypatch.setattr(raw_video, "_MAX_BYTES", 1)
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (48, 64, 4)


@pytest.mark.parametrize("background", ["alpha", "white"])
def test_memory_is_a_few_copies_of_the_clip(tmp_path: Path, disc, over, background: str) -> None:
    """The frames are replaced by their mattes, and these by their crops; masks and labels take one byte per pixel."""
    frames = [disc(100 + 2 * time, 128, 60, size=(256, 256), spot=WHITE) for time in range(24)]
    folder = write_folder(tmp_path, [over(f, WHITE) for f in frames] if background == "white" else frames)
    peaks = []
    for count in (8, 24):
        tracemalloc.start()
        load_video(folder, VideoConfig(size=256, frames=count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (16 * frames[0].nbytes) < 2.2


def test_damaged_videos_are_used_with_a_finding(write_video_file, rng) -> None:
    frames = []
    for time in range(24):
        frame = np.full((48, 64, 3), 255, np.uint8)
        frame[12:36, 10 + time : 34 + time] = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8)
        frames.append(frame)
    path = write_video_file("a.mp4", frames, container_options={"movflags": "faststart"}, options={"g": "4"})
    path.write_bytes(path.read_bytes()[: round(0.7 * path.stat().st_size)])
    loaded = load_video(path, CONFIG)
    assert "missing_frames" in names(loaded)
    assert 8 < loaded.video.num_times < 24
