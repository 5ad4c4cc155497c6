"""Writing videos: H.264, and VP9 with transparency."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ds4d.io.atomic import atomic_path

_H264_CRF, _VP9_CRF = "18", "20"  # the encoders' scales of quality; here the loss is hardly visible


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float) -> None:
    """Writes RGB frames as H.264, yuv420p, whole or not at all; odd sizes gain one row or column at the edge.

    Args:
        path: of the file; its suffix chooses the container (.mp4, .mkv, .mov).
        frames: of one size, taken one at a time.
        fps: frames per second, above 0.

    Raises:
        ValueError: no frames, frames of different sizes, or fps not above 0.
        ImportError: PyAV is not installed.
    """
    _encode(path, frames, fps, _h264_stream, ("rgb24", "yuv420p"))


def write_alpha_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 4"]], fps: float) -> None:
    """Writes RGBA frames with straight alpha as VP9 with a transparent background; the rest as `write_video`.

    Colors are stored at half the size and rounded, so those beside the object blend into it: `spread_colors` first.

    Args:
        path: of the file (.webm).
        frames: of one size, taken one at a time.
        fps: frames per second, above 0.

    Raises:
        ValueError: no frames, frames of different sizes, or fps not above 0.
        ImportError: PyAV is not installed.
    """
    _encode(path, frames, fps, _vp9_stream, ("rgba", "yuva420p"))


def _encode(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "H W C"]],
    fps: float,
    add_stream: Callable[[Any, int, int, Fraction], Any],
    formats: tuple[str, str],
) -> None:
    if not 0 < fps < math.inf:
        raise ValueError(f"write_video: fps must be finite and above 0, got {fps}.")
    try:
        import av
    except ImportError as error:
        raise ImportError("write_video needs PyAV. Install it with: pip install av") from error
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = None
        for frame in frames:
            even = _even_sized(frame)
            if stream is None:
                rate = Fraction(fps).limit_denominator(100_000)
                stream = add_stream(container, even.shape[1], even.shape[0], rate)
            if (stream.width, stream.height) != (even.shape[1], even.shape[0]):
                raise ValueError(
                    f"write_video: frames of {path} must share one size, got {stream.width} x {stream.height} and "
                    f"then {even.shape[1]} x {even.shape[0]}. Resize them first."
                )
            image = av.VideoFrame.from_ndarray(even, format=formats[0])
            container.mux(stream.encode(image.reformat(format=formats[1], dst_colorspace="ITU709")))
        if stream is None:
            raise ValueError(f"write_video: {path} must have at least one frame, got none.")
        container.mux(stream.encode(None))


def _even_sized(frame: UInt8[np.ndarray, "h w C"]) -> UInt8[np.ndarray, "H W C"]:
    """yuv420p halves the color planes, so sizes must be even: the last row or column is repeated."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _h264_stream(container: Any, width: int, height: int, rate: Fraction) -> Any:
    stream = container.add_stream("libx264", rate=rate, options={"crf": _H264_CRF})
    stream.pix_fmt = "yuv420p"
    return _described(stream, width, height)


def _vp9_stream(container: Any, width: int, height: int, rate: Fraction) -> Any:
    # Without a bit rate of 0 the encoder keeps to one of its own; row threads and speed 4 are several times faster.
    options = {"crf": _VP9_CRF, "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
    stream.pix_fmt = "yuva420p"
    return _described(stream, width, height)


def _described(stream: Any, width: int, height: int) -> Any:
    stream.width, stream.height = width, height
    # BT.709, said in the file: untagged colors are guessed by size, and players guess differently.
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = 1
    return stream
