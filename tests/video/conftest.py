"""Small films of a moving disc, written for each test."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

RED = (200, 40, 30)


def _disc(
    left: float,
    top: float,
    radius: float,
    *,
    size: tuple[int, int] = (64, 48),
    color: tuple[int, int, int] = RED,
    spot: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """An RGBA picture (straight alpha, soft outline) of a disc at a place, with a spot of half its radius inside."""
    width, height = size
    ys, xs = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(xs - left, ys - top)
    alpha = (radius + 0.5 - distance).clip(0, 1)
    inner = (radius / 2 + 0.5 - distance).clip(0, 1)[..., None]
    colors = np.broadcast_to(np.float64(color), (height, width, 3))
    if spot is not None:
        colors = inner * np.float64(spot) + (1 - inner) * colors
    return np.rint(np.dstack((colors, 255 * alpha))).astype(np.uint8)


def _over(rgba: np.ndarray, background: tuple[int, int, int] | np.ndarray) -> np.ndarray:
    """An RGB picture of an RGBA one on a background."""
    alpha = rgba[..., 3:] / 255
    return np.rint(alpha * rgba[..., :3] + (1 - alpha) * np.float64(background)).astype(np.uint8)


def _write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    fps: int = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes RGB or RGBA frames; `stamps` are their times in units of 1 / fps where they are not evenly spaced."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = index if stamps is None else stamps[index], Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def disc() -> Callable[..., np.ndarray]:
    """Draws one RGBA picture: (left, top, radius, *, size, color, spot)."""
    return _disc


@pytest.fixture
def over() -> Callable[..., np.ndarray]:
    """Lays an RGBA picture over a background: (rgba, background) -> RGB."""
    return _over


@pytest.fixture
def write_film(tmp_path: Path) -> Callable[..., Path]:
    """Encodes frames into a file: (name, frames, *, fps, codec, pix_fmt, stamps, options, container_options)."""
    return lambda name, frames, **settings: _write_film(tmp_path / name, frames, **settings)


@pytest.fixture
def rolling_disc() -> list[np.ndarray]:
    """Twelve RGBA frames, 64 x 48: a red disc of radius 9 that rolls from left to right."""
    return [_disc(14 + 3 * time, 26, 9) for time in range(12)]
