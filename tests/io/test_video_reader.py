import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.io.video_reader import VideoReader

WHITE = (255, 255, 255)


def read(path: Path, *, max_side: int = 1000, alpha: bool = True) -> np.ndarray:
    video = VideoReader(path)
    return np.stack([frame for _, frame in video.read(range(len(video.seconds)), max_side, alpha=alpha)])


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options", "tolerance"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p", {"crf": "10"}, 6.0),
        ("a.mov", "prores_ks", "yuva444p10le", {"profile": "4444"}, 2.0),
        ("b.mov", "qtrle", "argb", {}, 0.0),
        ("c.mov", "png", "rgba", {}, 0.0),
        ("a.mkv", "ffv1", "bgra", {}, 0.0),
    ],
)
def test_videos_with_alpha_are_premultiplied(
    write_video_file, rolling_disc, name: str, codec: str, pix_fmt: str, options: dict[str, str], tolerance: float
) -> None:
    path = write_video_file(name, rolling_disc, codec=codec, pix_fmt=pix_fmt, options=options)
    frames = read(path)
    truth = np.stack([premultiply(frame) for frame in rolling_disc])
    assert frames.shape == truth.shape
    assert np.abs(frames.astype(int) - truth).mean(axis=(0, 1, 2)) == pytest.approx([0] * 4, abs=tolerance)
    assert (frames[..., 3].min(), frames[..., 3].max()) == (0, 255)
    assert read(path, alpha=False)[..., 3].min() == 255


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.mov", "mjpeg", "yuvj420p"),
    ],
)
def test_videos_without_alpha_are_opaque(
    write_video_file, rolling_disc, over, name: str, codec: str, pix_fmt: str
) -> None:
    path = write_video_file(name, [over(frame, WHITE) for frame in rolling_disc], codec=codec, pix_fmt=pix_fmt)
    video = VideoReader(path)
    assert video.seconds == pytest.approx([time / 10 for time in range(12)])
    assert (video.size, video.missing) == ((64, 48), 0)
    frames = read(path)
    assert frames.shape == (12, 48, 64, 4)
    assert frames[..., 3].min() == 255
    for time in (0, 11):
        assert frames[time, 26, 14 + 3 * time, :3].astype(int) == pytest.approx(
            (200, 40, 30), abs=60
        )  # GIF has few colors
        assert frames[time, 4, 4, :3].astype(int) == pytest.approx(WHITE, abs=8)


def test_gifs_keep_transparency(tmp_path: Path, rolling_disc) -> None:
    from PIL import Image

    images = [Image.fromarray(np.where(frame[..., 3:] > 127, frame, 0)) for frame in rolling_disc]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=40, disposal=2)
    frames = read(tmp_path / "a.gif")
    assert np.array_equal(frames[..., 3] > 0, np.stack(rolling_disc)[..., 3] > 127)
    assert VideoReader(tmp_path / "a.gif").seconds[-1] == pytest.approx(0.44)


def test_variable_frame_rates(write_video_file, rolling_disc, over) -> None:
    stamps = [0, 1, 2, 3, 4, 5, 50, 51, 52, 53, 80, 99]
    path = write_video_file("a.mp4", [over(frame, WHITE) for frame in rolling_disc], fps=100, stamps=stamps)
    assert VideoReader(path).seconds == pytest.approx([stamp / 100 for stamp in stamps])


def test_frames_are_selected_by_index(write_video_file, rolling_disc, over) -> None:
    video = VideoReader(write_video_file("a.mp4", [over(frame, WHITE) for frame in rolling_disc]))
    read_back = dict(video.read([2, 7], 1000, alpha=True))
    assert list(read_back) == [2, 7]
    for time, frame in read_back.items():
        assert frame[26, 14 + 3 * time, 1] < 60
        assert frame[26, 14 + 3 * time - 12, 1] > 200


def test_odd_sizes_are_kept(write_video_file, rolling_disc) -> None:
    path = write_video_file("a.mkv", [frame[:47, :63] for frame in rolling_disc], codec="ffv1", pix_fmt="bgra")
    assert read(path).shape == (12, 47, 63, 4)


def _rotate(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Writes the display matrix of an mp4's track header, as a rotated phone does."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("matrix", "rotations"),
    # x' = a x + c y, y' = b x + d y, y down: (0, 1, -1, 0) moves the upper left corner to the upper right.
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_rotated_videos_are_read_upright(write_video_file, disc, over, matrix, rotations: int) -> None:
    path = write_video_file("a.mp4", [over(disc(14, 12, 9), WHITE)] * 2)
    _rotate(path, matrix)
    upright = np.rot90(over(disc(14, 12, 9), WHITE), rotations)
    frames = read(path)
    assert VideoReader(path).size == upright.shape[1::-1]
    assert frames.shape[1:3] == upright.shape[:2]
    assert np.abs(frames[0, ..., :3].astype(int) - upright).mean() < 4
    assert read(path, max_side=32).shape[1:3] == ((24, 32) if rotations % 2 == 0 else (32, 24))


def test_non_square_pixels_are_stretched(tmp_path: Path, rolling_disc, over) -> None:
    from fractions import Fraction

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for frame in rolling_disc:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(over(frame, WHITE), format="rgb24")))
        container.mux(stream.encode(None))
    assert VideoReader(tmp_path / "a.mp4").size == (96, 48)
    assert read(tmp_path / "a.mp4").shape == (12, 48, 96, 4)


def test_8k_frames_are_reduced(write_video_file) -> None:
    frame = np.zeros((4320, 7680, 3), np.uint8)
    frame[:, :3840] = 240
    path = write_video_file("a.mov", [frame], codec="mjpeg", pix_fmt="yuvj420p")
    assert VideoReader(path).size == (7680, 4320)
    small = read(path, max_side=1536)
    assert small.shape == (1, 864, 1536, 4)
    assert small[0, :, 760, 0].min() > 235
    assert small[0, :, 776, 0].max() < 5


def test_memory_is_bounded_for_ten_thousand_frames(write_video_file) -> None:
    frame = np.full((64, 64, 3), 255, np.uint8)
    frame[20:40, 20:40] = 30
    path = write_video_file("a.avi", [frame] * 10_000, codec="mpeg4")
    tracemalloc.start()
    video = VideoReader(path)
    frames = list(video.read(range(0, 10_000, 500), 1000, alpha=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(video.seconds), len(frames)) == (10_000, 20)
    assert peak < 10_000 * frame.size / 10


def test_videos_truncated_before_the_index_are_refused(write_video_file, rolling_disc, over) -> None:
    path = write_video_file("a.mp4", [over(frame, WHITE) for frame in rolling_disc])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"a\.mp4"):
        VideoReader(path)


def test_videos_truncated_after_the_index_give_the_remaining_frames(write_video_file, rng) -> None:
    noise = rng.integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    path = write_video_file("a.mp4", noise, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: round(0.6 * path.stat().st_size)])
    truncated = VideoReader(path)
    assert 3 < len(truncated.seconds) < 9
    assert truncated.missing == 12 - len(truncated.seconds)
    left = dict(truncated.read(range(len(truncated.seconds)), 1000, alpha=True))
    assert len(left) > 2
    assert np.abs(left[0][..., :3].astype(int) - noise[0]).mean() < 60  # noise suffers from the codec
    assert set(left) <= set(range(len(truncated.seconds)))


def _write_audio(path: Path, cover: np.ndarray | None = None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        if cover is not None:
            image = container.add_stream("mjpeg", rate=1)
            image.height, image.width = cover.shape[:2]
            image.pix_fmt = "yuvj420p"
            image.disposition = av.stream.Disposition.attached_pic
        audio = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        audio.rate, audio.pts = 8000, 0
        packets = stream.encode(audio)
        if cover is not None:
            packets += image.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")) + image.encode(None)
        container.mux(packets + stream.encode(None))


def test_audio_files_are_refused(tmp_path: Path) -> None:
    _write_audio(tmp_path / "a.m4a")
    with pytest.raises(ValueError, match=r"a\.m4a.*aac"):
        VideoReader(tmp_path / "a.m4a")


def test_cover_images_of_audio_files_are_ignored(tmp_path: Path) -> None:
    _write_audio(tmp_path / "a.mp4", np.full((32, 32, 3), 90, np.uint8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(ValueError, match=r"a\.mp4.*aac"):
        VideoReader(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "content"), [("a.mp4", b"no video\n" * 99), ("a.mp4", b""), ("a.txt", b"text\n" * 99)]
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        VideoReader(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.mp4"):
        VideoReader(tmp_path / "none.mp4")


@pytest.mark.usefixtures("without_pyav")
def test_missing_pyav_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install av"):
        VideoReader(tmp_path / "a.mp4")


NAMES = ["12:30.mp4", "concat:x.mp4", "file:x.mp4", "data:x.mp4", "a%d.mp4", "http:/127.0.0.1:9/x.mp4", "-x\n'.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_that_of_a_file(
    write_video_file, rolling_disc, over, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write_video_file("a.mp4", [over(frame, WHITE) for frame in rolling_disc])
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    path.rename(name)
    assert len(VideoReader(Path(name)).seconds) == 12


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n"),
        ("a.txt", "ffconcat version 1.0\nfile '{other}'\n"),
        ("a.mp4", "ffconcat version 1.0\nfile '{other}'\n"),
        ("a.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{other}"/></svg>'),
    ],
)
def test_files_that_name_others_are_refused(write_video_file, rolling_disc, over, name: str, content: str) -> None:
    other = write_video_file("other.ts", [over(frame, WHITE) for frame in rolling_disc])
    path = other.with_name(name)
    path.write_text(content.format(other=other.name))
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        VideoReader(path)


def test_unknown_codecs_are_refused(write_video_file, rolling_disc, over) -> None:
    path = write_video_file("a.mp4", [over(frame, WHITE) for frame in rolling_disc])
    content = path.read_bytes()
    assert content.count(b"avc1") >= 1
    start = content.rfind(b"avc1")
    path.write_bytes(content[:start] + b"encv" + content[start + 4 :])  # as in an encrypted video
    with pytest.raises(ValueError, match=r"a\.mp4"):
        VideoReader(path)


def _gif(width: int, height: int) -> bytes:
    """A GIF of two frames of one pixel on a canvas of any size."""
    frame = b"\x21\xf9\x04\x04\x05\x00\x00\x00" + b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<2H3B", width, height, 0x80, 0, 0) + b"\xff\xff\xff\x00\x00\x00"
    return head + 2 * frame + b"\x3b"


def test_frames_beyond_8k_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "small.gif").write_bytes(_gif(16, 8))
    assert VideoReader(tmp_path / "small.gif").size == (16, 8)
    (tmp_path / "a.gif").write_bytes(_gif(12_000, 12_000))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.gif"):
        VideoReader(tmp_path / "a.gif")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_absurd_pixel_shapes_are_refused(tmp_path: Path) -> None:
    from fractions import Fraction

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(40, 1)
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(image.reformat(format="yuv420p")) + stream.encode(None))
    with pytest.raises(ValueError, match=r"a\.mp4"):
        VideoReader(tmp_path / "a.mp4")
