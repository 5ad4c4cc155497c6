from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ds4d.io import spread_colors, write_alpha_video, write_video


def _frames(count: int, height: int, width: int) -> Iterator[np.ndarray]:
    """A square that moves to the right on a color gradient."""
    ys, xs = np.mgrid[:height, :width]
    ramp = np.stack((xs * 255 // width, ys * 255 // height, np.full_like(xs, 200)), axis=-1).astype(np.uint8)
    for time in range(count):
        frame = ramp.copy()
        frame[8:24, 4 * time : 4 * time + 16] = (220, 30, 40)
        yield frame


def _read(path: Path) -> tuple[Any, np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_round_trip(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", _frames(6, 48, 64), fps=12.5)
    stream, frames = _read(tmp_path / "a.mp4")
    assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 12.5)
    truth = np.stack(list(_frames(6, 48, 64)))
    assert frames.shape == truth.shape
    assert np.abs(frames.astype(int) - truth).mean() < 3
    assert frames[0, 16, 12] == pytest.approx([220, 30, 40], abs=6)  # colors survive the conversion to YUV and back
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", _frames(2, 47, 63), fps=24.0)
    _, frames = _read(tmp_path / "a.mp4")
    assert frames.shape == (2, 48, 64, 3)
    assert frames[0, -1, :60].astype(int) == pytest.approx(frames[0, -2, :60].astype(int), abs=12)


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", _frames(2, 32, 32), fps=24.0)
    before = (tmp_path / "a.mp4").read_bytes()
    frames = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"a\.mp4.*32 x 32 and then 48 x 32"):
        write_video(tmp_path / "a.mp4", frames, fps=24.0)
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.mp4.*frame"):
        write_video(tmp_path / "a.mp4", [], fps=24.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_frame_rates_are_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        write_video(tmp_path / "a.mp4", _frames(1, 32, 32), fps=fps)


@pytest.mark.usefixtures("without_pyav")
def test_missing_pyav_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install av"):
        write_video(tmp_path / "a.mp4", _frames(1, 32, 32), fps=24.0)


def test_alpha_round_trip(tmp_path: Path) -> None:
    """Read by libvpx's decoder; others drop the alpha."""
    truth = []
    for frame in _frames(5, 48, 64):
        ys, xs = np.mgrid[:48, :64]
        inside = (xs - 32) ** 2 + (ys - 24) ** 2 < 18**2
        truth.append(np.dstack((frame * inside[..., None], np.where(inside, 255, 0).astype(np.uint8))))
    write_alpha_video(tmp_path / "a.webm", [spread_colors(frame) for frame in truth], fps=10.0)
    with av.open(str(tmp_path / "a.webm")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 10
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        read = [
            frame.to_ndarray(format="rgba") for packet in container.demux(stream) for frame in decoder.decode(packet)
        ]
    assert len(read) == 5
    for ours, theirs in zip(read, truth, strict=True):
        assert np.abs(ours[..., 3].astype(int) - theirs[..., 3]).mean() < 2
        over = [f[..., :3] * (f[..., 3:] / 255) + 255 - f[..., 3:].astype(float) for f in (ours, theirs)]
        assert np.abs(over[0] - over[1]).mean() < 3  # on white: no dark seam around the object


@pytest.mark.parametrize("name", ["concat:x.mp4", "12:31.webm", "http:/127.0.0.1:9/x.mp4", "a%d.mp4"])
def test_any_name_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(name, _frames(2, 32, 48), 10.0) if name.endswith("mp4") else write_alpha_video(
        name, (np.dstack((frame, frame[..., :1])) for frame in _frames(2, 32, 48)), 10.0
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
