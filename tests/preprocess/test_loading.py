from pathlib import Path

import numpy as np
import pytest

from ds4d.core import notices_to
from ds4d.io import premultiply, write_png
from ds4d.preprocess import LoadedVideo, VideoConfig, inspect_video, load_video, raw_video
from ds4d.types import Video

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
    return np.stack([loaded.framing.apply(premultiply(frame)) for frame in frames])


def assert_quiet(path: Path, config: VideoConfig) -> LoadedVideo:
    with notices_to((notices := []).append):
        loaded = load_video(path, config)
    assert notices == []
    return loaded


@pytest.mark.parametrize("kind", ["webm", "folder", "white mp4", "white folder"])
def test_every_way_in_gives_the_same_clip(tmp_path: Path, render_video, rolling_disc, over, kind: str) -> None:
    on_white = [over(frame, WHITE) for frame in rolling_disc]
    if kind == "webm":
        path = render_video("a.webm", rolling_disc, codec="libvpx-vp9", pix_fmt="yuva420p", options={"crf": "10"})
    elif kind == "white mp4":
        path = render_video("a.mp4", on_white, options={"crf": "10"})
    else:
        path = write_folder(tmp_path / "frames", on_white if kind == "white folder" else rolling_disc)
    loaded = assert_quiet(path, VideoConfig(size=64, fps=10.0))
    assert isinstance(loaded.video, Video)
    assert (loaded.video.num_times, loaded.video.frames.num_views) == (12, 1)
    assert loaded.video.fps == pytest.approx(10)
    assert loaded.seconds == pytest.approx([time / 10 for time in range(12)])
    assert loaded.findings == ()
    got = images(loaded)
    assert (got[..., :3] <= got[..., 3:]).all()
    error = np.abs(got.astype(int) - truth(loaded, rolling_disc))
    assert error.mean() < 2.5
    assert ((got[..., 3] > 127) != (truth(loaded, rolling_disc)[..., 3] > 127)).mean() < 0.02
    assert (loaded.framing.video_width, loaded.framing.video_height) == (64, 48)


def test_frames_and_times_are_those_asked_for(tmp_path: Path, rolling_disc) -> None:
    folder = write_folder(tmp_path, rolling_disc)
    config = VideoConfig(size=64, fps=10.0, start=0.3, frames=3)
    with notices_to((notices := []).append):
        loaded = load_video(folder, config)
    assert any("3 frames" in notice.message for notice in notices)
    assert loaded.seconds == pytest.approx([0.3, 0.4, 0.5])
    assert np.array_equal(images(loaded), truth(loaded, rolling_disc[3:6]))


def test_a_real_folder_with_alpha(data_dir: Path) -> None:
    loaded = assert_quiet(data_dir / "trex", VideoConfig(size=128))
    assert (loaded.video.num_times, loaded.video.fps) == (32, pytest.approx(24))
    alpha = images(loaded)[..., 3] > 127
    columns, rows = (np.flatnonzero(alpha.any(axis=axes)) for axes in ((0, 1), (0, 2)))
    assert (columns[-1] - columns[0] + 1) / 128 == pytest.approx(0.85, abs=0.02)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(63.5, abs=1)


def test_a_folder_in_stag4ds_layout_gives_its_real_view(data_dir: Path) -> None:
    loaded = load_video(data_dir / "minions", VideoConfig(size=64, frames=8))
    assert loaded.video.num_times == 8
    assert 0.3 < (images(loaded)[..., 3] > 127).mean() < 0.7


def test_one_frame_is_a_still_object_and_said(tmp_path: Path, disc) -> None:
    write_png(tmp_path / "a.png", disc(30, 24, 12))
    with notices_to((notices := []).append):
        loaded = load_video(tmp_path / "a.png", CONFIG)
    assert any("one frame" in notice.message for notice in notices)
    assert loaded.video.num_times == 1
    assert loaded.video.fps == 24


def test_transparent_videos_are_refused(tmp_path: Path, disc) -> None:
    clear = disc(30, 24, 12)
    clear[..., 3] = 0
    with pytest.raises(ValueError, match=r"cannot be used\. Nothing is left once .* ds4d check shows"):
        load_video(write_folder(tmp_path, [clear] * 9), CONFIG)


def test_opaque_alpha_says_nothing_and_the_background_decides(tmp_path: Path, rolling_disc, over) -> None:
    opaque = [np.dstack((over(frame, WHITE), np.full((48, 64), 255, np.uint8))) for frame in rolling_disc]
    inspection = inspect_video(write_folder(tmp_path, opaque), CONFIG)
    assert inspection.context.cut.way == "color"
    assert inspection.findings == ()


def test_wrong_alpha_can_be_left_aside(tmp_path: Path, rolling_disc, over) -> None:
    """Alpha solid on the background and clear on the object, over images that are all there."""
    wrong = [np.dstack((over(frame, WHITE), 255 - frame[..., 3])) for frame in rolling_disc]
    folder = write_folder(tmp_path, wrong)
    with pytest.raises(ValueError, match="seems to be inverted"):
        load_video(folder, CONFIG)
    loaded = assert_quiet(folder, VideoConfig(size=64, matting="color"))
    assert ((images(loaded)[..., 3] > 127) != (truth(loaded, rolling_disc)[..., 3] > 127)).mean() < 0.01


def test_gray_under_faint_alpha_is_dropped(tmp_path: Path, rolling_disc) -> None:
    dirty = [frame.copy() for frame in rolling_disc]
    for frame in dirty:
        frame[frame[..., 3] == 0] = (127, 127, 127, 1)
    loaded = assert_quiet(write_folder(tmp_path, dirty), CONFIG)
    assert np.array_equal(images(loaded)[0, 0, 0], [0, 0, 0, 0])


def test_an_object_that_leaves_the_image(tmp_path: Path, disc) -> None:
    frames = [disc(14 + 8 * time, 26, 9) for time in range(12)]  # out at the right after nine frames
    folder = write_folder(tmp_path, frames)
    with pytest.raises(ValueError, match=r"not to be seen in 4 of 12 frames, from 0\.33 s to 0\.46 s\. Leave those"):
        load_video(folder, CONFIG)
    with notices_to((notices := []).append):
        loaded = load_video(folder, VideoConfig(size=64, end=0.3))
    assert any("border" in notice.message for notice in notices)
    assert loaded.video.num_times == 8


def test_two_objects(tmp_path: Path, disc) -> None:
    larger = [disc(20, 16 + time, 12, size=(90, 48)) for time in range(12)]
    frames = [np.maximum(frame, disc(70, 24, 8, size=(90, 48))) for frame in larger]
    folder = write_folder(tmp_path, frames)
    with notices_to((notices := []).append):
        loaded = load_video(folder, CONFIG)
    assert any("more than one object" in notice.message for notice in notices)
    one = images(loaded)
    everything = assert_quiet(folder, VideoConfig(size=64, keep="all"))
    assert one[..., 3].any(axis=(0, 2)).mean() > 0.8  # framed by itself, its way fills the square
    second = (images(everything)[:, :, 40:, 3] > 127).sum(axis=(1, 2))
    assert second == pytest.approx(np.full(12, np.pi * (8 * 64 / everything.framing.side) ** 2), rel=0.1)


def test_all_that_is_fatal_is_named_at_once(tmp_path: Path, disc) -> None:
    clear, whole = disc(30, 24, 12), np.full((48, 64, 4), 255, np.uint8)
    clear[..., 3] = 0
    with pytest.raises(ValueError, match=r"not to be seen in 1 of 3 frames.*fills the whole image in 1 of 3 frames"):
        load_video(write_folder(tmp_path, [disc(30, 24, 12), clear, whole]), CONFIG)


def test_ten_thousand_frames_give_thirty_two(render_video, disc, over) -> None:
    places = [over(disc(14 + 3 * time, 26, 9), WHITE) for time in range(12)]
    path = render_video("a.avi", [places[time // 900] for time in range(10_000)], codec="mpeg4", options={"q": "2"})
    with notices_to((notices := []).append):
        loaded = load_video(path, CONFIG)
    assert any("repeat" in notice.message for notice in notices)
    assert loaded.video.num_times == 32
    assert loaded.seconds[-1] == pytest.approx(999.9)
    assert loaded.video.fps == pytest.approx(31 / 999.9)
    with pytest.raises(ValueError, match="at most 500 frames, got 10000"):
        load_video(path, VideoConfig(fps=10.0))


def test_long_clips_are_read_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rolling_disc) -> None:
    folder = write_folder(tmp_path, [np.repeat(np.repeat(frame, 4, 0), 4, 1) for frame in rolling_disc])
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (144, 192, 4)  # three times as large as framed
    monkeypatch.setattr(raw_video, "_BYTES", 12 * 4 * 100**2)
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (75, 100, 4)
    monkeypatch.setattr(raw_video, "_BYTES", 1)
    assert raw_video.read_raw_video(folder, CONFIG).images[0].shape == (48, 64, 4)


def test_a_damaged_video_is_used_and_the_damage_said(render_video, rng) -> None:
    frames = []
    for time in range(24):
        frame = np.full((48, 64, 3), 255, np.uint8)
        frame[12:36, 10 + time : 34 + time] = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8)
        frames.append(frame)
    path = render_video("a.mp4", frames, container_options={"movflags": "faststart"}, options={"g": "4"})
    path.write_bytes(path.read_bytes()[: round(0.7 * path.stat().st_size)])
    with notices_to((notices := []).append):
        loaded = load_video(path, CONFIG)
    assert any("frames are missing" in notice.message for notice in notices)
    assert 8 < loaded.video.num_times < 24
