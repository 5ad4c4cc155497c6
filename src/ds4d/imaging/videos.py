"""Writing H.264 videos."""

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ds4d.imaging.atomic import atomic_path

_CRF = "18"  # x264's scale of quality; at 18 the loss is hardly visible


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
                stream = _add_stream(container, even.shape[1], even.shape[0], fps)
            if (stream.width, stream.height) != (even.shape[1], even.shape[0]):
                raise ValueError(
                    f"write_video: frames of {path} must share one size, got {stream.width} x {stream.height} and "
                    f"then {even.shape[1]} x {even.shape[0]}. Resize them first."
                )
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace="ITU709")))
        if stream is None:
            raise ValueError(f"write_video: {path} must have at least one frame, got none.")
        container.mux(stream.encode(None))


def _even_sized(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """yuv420p halves the colour planes, so sizes must be even: the last row or column is repeated."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _add_stream(container: Any, width: int, height: int, fps: float) -> Any:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000), options={"crf": _CRF})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    # BT.709, said in the file: untagged colours are guessed by size, and players guess differently.
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = 1
    return stream
