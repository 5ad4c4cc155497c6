"""Reading the selected frames of a video."""

import math
from collections import Counter
from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import ArrayList, tracked
from ds4d.io import Size
from ds4d.io.animated_image import AnimatedImage, is_animated
from ds4d.io.image_sequence import ImageSequence
from ds4d.io.paths import IMAGE_SUFFIXES
from ds4d.io.tone_mapping import VideoColor
from ds4d.io.video_reader import VideoReader
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.frame_selection import select_frames

_DETAIL = 3  # frames are read at up to this many times the crop's size: the object may be small in them
_MAX_BYTES = 2**29  # of all frames; longer clips are read at a lower resolution, but not below the crop's size


@dataclass(frozen=True)
class VideoInfo:
    """The selected frames of a video, without their pixels.

    Attributes:
        seconds: time of each frame in the video, increasing.
        fps: frames per second of the selected frames.
        size: size of the video as displayed.
        indices: index of each frame in the video.
        source_frames: number of frames in the video.
        source_fps: frames per second of the video.
        missing: number of frames that the file announces but does not hold, or that cannot be decoded.
        color: how its colors were coded before they were converted to sRGB; None if they were not converted.
    """

    seconds: tuple[float, ...]
    fps: float
    size: Size
    indices: tuple[int, ...]
    source_frames: int
    source_fps: float
    missing: int
    color: VideoColor | None = None


@dataclass(frozen=True)
class RawVideo:
    """The selected frames of a video.

    Attributes:
        images: frames as displayed, premultiplied (opaque where the video has no alpha), at up to the video's size.
        info: their times, and the size of the video.
    """

    images: MutableSequence[UInt8[np.ndarray, "H W 4"]]
    info: VideoInfo


def read_raw_video(path: Path, config: VideoConfig) -> RawVideo:
    """Reads the frames that the config selects.

    Raises:
        ValueError: The file does not exist, cannot be read, or has no such frames.
        ImportError: The file is a video and PyAV is not installed.
    """
    source = _open_source(path, config)
    indices = select_frames(source.seconds, config)
    wanted = sorted(set(indices))
    max_side = _max_side(len(indices), config.size)
    frames = source.read(wanted, max_side, alpha=config.masks is None and config.matting in ("auto", "alpha"))
    decoded, images, times = [], ArrayList(), Counter(indices)
    for index, image in tracked(frames, "reading the video", len(wanted)):
        decoded += [index] * times[index]
        images.extend([image] * times[index])
    if not decoded:
        raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
    seconds = tuple(source.seconds[index] for index in decoded)
    source_fps = _frame_rate(source.seconds) or 24.0
    info = VideoInfo(
        seconds=seconds,
        fps=_frame_rate(seconds) or source_fps,
        size=source.size,
        indices=tuple(decoded),
        source_frames=len(source.seconds),
        source_fps=source_fps,
        missing=source.missing + len(indices) - len(decoded),
        color=source.color,
    )
    return RawVideo(images, info)


def read_frames(
    path: Path, config: VideoConfig, indices: Sequence[int], max_side: int
) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
    """Reads frames of a video by their index, upright and premultiplied; those that cannot be decoded are skipped.

    Args:
        path: the video.
        config: whether its alpha is used, and the frame rate of folders.
        indices: increasing indices.
        max_side: longer side that larger frames are reduced to, pixels.
    """
    alpha = config.masks is None and config.matting in ("auto", "alpha")
    return iter(_open_source(path, config).read(indices, max_side, alpha=alpha))


def _open_source(path: Path, config: VideoConfig) -> AnimatedImage | ImageSequence | VideoReader:
    if is_animated(path):
        return AnimatedImage(path)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSequence(path, config.fps)
    return VideoReader(path)


def _max_side(count: int, size: int) -> int:
    """Longest side to read `count` frames at, pixels, if their crops are to have this size."""
    return max(size, min(_DETAIL * size, math.isqrt(_MAX_BYTES // (4 * count))))


def _frame_rate(seconds: tuple[float, ...] | list[float]) -> float | None:
    return (len(seconds) - 1) / (seconds[-1] - seconds[0]) if seconds[-1] > seconds[0] else None
