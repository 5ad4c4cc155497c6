"""The chosen frames of a film, in memory."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.io.image_files import PICTURE_SUFFIXES, PictureFiles
from ds4d.io.sizes import Size
from ds4d.io.video_reader import FilmFile
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.frame_selection import choose_frames

_DETAIL = 3  # how much larger than the framed pictures frames are read: the object may be small in them
_BYTES = 2**29  # for the frames; a longer clip is read smaller, but not below the size it is framed at


@dataclass(frozen=True)
class Footage:
    """Frames of a film as they are shown.

    Attributes:
        pictures: T frames, premultiplied (opaque where the film has no alpha), reduced from the film's size.
        seconds: when each is shown in the film, rising.
        fps: frames per second.
        size: of the film.
        film_frames: how many frames the film has.
        lost: frames that the film promises and does not hold, or that cannot be decoded.
    """

    pictures: list[UInt8[np.ndarray, "H W 4"]]
    seconds: tuple[float, ...]
    fps: float
    size: Size
    film_frames: int
    lost: int


def read_footage(path: Path, config: VideoConfig) -> Footage:
    """Reads the frames that the config asks for.

    Raises:
        ValueError: there is no film, it cannot be read, or has no such frames.
        ImportError: the film is a video file and PyAV is not installed.
    """
    is_pictures = path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES
    source = PictureFiles(path, config.fps) if is_pictures else FilmFile(path)
    indices = choose_frames(source.seconds, config)
    alpha = config.matting in ("auto", "alpha")
    wanted = sorted(set(indices))
    frames = source.read(wanted, _longer_side(len(indices), config.size), alpha=alpha)
    read = dict(tracked(frames, "reading the film", len(wanted)))
    shown = [index for index in indices if index in read]
    if not shown:
        raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
    seconds = tuple(source.seconds[index] for index in shown)
    return Footage(
        pictures=[read[index] for index in shown],
        seconds=seconds,
        fps=_rate(seconds) or _rate(source.seconds) or 24.0,
        size=source.size,
        film_frames=len(source.seconds),
        lost=source.missing + len(indices) - len(shown),
    )


def _longer_side(count: int, size: int) -> int:
    """The longer side that frames are reduced to, pixels."""
    return max(size, min(_DETAIL * size, math.isqrt(_BYTES // (4 * count))))


def _rate(seconds: tuple[float, ...] | list[float]) -> float | None:
    return (len(seconds) - 1) / (seconds[-1] - seconds[0]) if seconds[-1] > seconds[0] else None
