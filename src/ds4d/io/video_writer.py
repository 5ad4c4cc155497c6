"""Writing videos: H.264, and VP9 with alpha."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ds4d.io.atomic import atomic_path
from ds4d.io.video_reader import file_url

_H264_CRF, _VP9_CRF = "18", "20"  # quality settings of the encoders at which the loss is hardly visible


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float) -> None:
    """Writes RGB frames as H.264, yuv420p; atomic. Odd sizes are padded by one row or column.

    Args:
        path: path of the file; its suffix determines the container (.mp4, .mkv, .mov).
        frames: frames of one size; consumed one at a time.
        fps: frames per second, above 0.

    Raises:
        ValueError: There are no frames, they differ in size, or `fps` is not above 0.
        ImportError: PyAV is not installed.
    """
    _encode(path, frames, fps, _h264_stream, ("rgb24", "yuv420p"))


def write_alpha_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 4"]], fps: float) -> None:
    """Writes RGBA frames with straight alpha as VP9 with alpha; otherwise as `write_video`.

    Colors are stored at half the resolution, so those around the object bleed into it: call `spread_colors` before.

    Args:
        path: path of the file (.webm).
        frames: frames of one size; consumed one at a time.
        fps: frames per second, above 0.

    Raises:
        ValueError: There are no frames, they differ in size, or `fps` is not above 0.
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
        raise ValueError(f"fps of {path} must be finite and above 0, got {fps}.")
    try:
        import av
    except ImportError as error:
        raise ImportError("writing videos needs PyAV. Install it with: pip install av") from error
    with atomic_path(path) as temporary, av.open(file_url(temporary), "w") as container:
        stream = None
        for frame in frames:
            even = _even_sized(frame)
            if stream is None:
                rate = Fraction(fps).limit_denominator(100_000)
                stream = add_stream(container, even.shape[1], even.shape[0], rate)
            if (stream.width, stream.height) != (even.shape[1], even.shape[0]):
                raise ValueError(
                    f"frames of {path} must have one size, got {stream.width} x {stream.height} and "
                    f"then {even.shape[1]} x {even.shape[0]}. Resize them first."
                )
            image = av.VideoFrame.from_ndarray(even, format=formats[0])
            container.mux(stream.encode(image.reformat(format=formats[1], dst_colorspace="ITU709")))
        if stream is None:
            raise ValueError(f"{path} must have at least one frame, got none.")
        container.mux(stream.encode(None))


def _even_sized(frame: UInt8[np.ndarray, "h w C"]) -> UInt8[np.ndarray, "H W C"]:
    """Repeats the last row or column of odd sizes: yuv420p halves the color planes."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _h264_stream(container: Any, width: int, height: int, rate: Fraction) -> Any:
    stream = container.add_stream("libx264", rate=rate, options={"crf": _H264_CRF})
    stream.pix_fmt = "yuv420p"
    return _with_metadata(stream, width, height)


def _vp9_stream(container: Any, width: int, height: int, rate: Fraction) -> Any:
    # Without a bit rate of 0 the encoder uses a target of its own; row threads and speed 4 are several times faster.
    options = {"crf": _VP9_CRF, "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
    stream.pix_fmt = "yuva420p"
    return _with_metadata(stream, width, height)


def _with_metadata(stream: Any, width: int, height: int) -> Any:
    stream.width, stream.height = width, height
    # Tagged as BT.709: players guess the color space of untagged files, each in its own way.
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = 1
    return stream
