"""The chosen frames of a video, in memory."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.io.image_files import IMAGE_SUFFIXES, ImageSequence
from ds4d.io.sizes import Size
from ds4d.io.video_reader import VideoReader
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.frame_selection import choose_frames

_DETAIL = 3  # how much larger than the framed images frames are read: the object may be small in them
_BYTES = 2**29  # for the frames; a longer clip is read smaller, but not below the size it is framed at


@dataclass(frozen=True)
class RawVideo:
    """Frames of a video as they are shown.

    Attributes:
        images: T frames, premultiplied (opaque where the video has no alpha), reduced from the video's size.
        seconds: when each is shown in the video, rising.
        fps: frames per second.
        size: of the video.
        source_frames: how many frames the video has.
        lost: frames that the video promises and does not hold, or that cannot be decoded.
    """

    images: list[UInt8[np.ndarray, "H W 4"]]
    seconds: tuple[float, ...]
    fps: float
    size: Size
    source_frames: int
    lost: int


def read_raw_video(path: Path, config: VideoConfig) -> RawVideo:
    """Reads the frames that the config asks for.

    Raises:
        ValueError: there is no video, it cannot be read, or has no such frames.
        ImportError: the video is a video file and PyAV is not installed.
    """
    is_images = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    source = ImageSequence(path, config.fps) if is_images else VideoReader(path)
    indices = choose_frames(source.seconds, config)
    alpha = config.matting in ("auto", "alpha")
    wanted = sorted(set(indices))
    frames = source.read(wanted, _longer_side(len(indices), config.size), alpha=alpha)
    read = dict(tracked(frames, "reading the video", len(wanted)))
    shown = [index for index in indices if index in read]
    if not shown:
        raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
    seconds = tuple(source.seconds[index] for index in shown)
    return RawVideo(
        images=[read[index] for index in shown],
        seconds=seconds,
        fps=_rate(seconds) or _rate(source.seconds) or 24.0,
        size=source.size,
        source_frames=len(source.seconds),
        lost=source.missing + len(indices) - len(shown),
    )


def _longer_side(count: int, size: int) -> int:
    """The longer side that frames are reduced to, pixels."""
    return max(size, min(_DETAIL * size, math.isqrt(_BYTES // (4 * count))))


def _rate(seconds: tuple[float, ...] | list[float]) -> float | None:
    return (len(seconds) - 1) / (seconds[-1] - seconds[0]) if seconds[-1] > seconds[0] else None
