"""From a file to a clip of the object alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ds4d.types import ArrayFrames, Video
from ds4d.video.config import VideoConfig
from ds4d.video.cutting import cut_out
from ds4d.video.film_file import FilmFile
from ds4d.video.frame_choice import choose_frames
from ds4d.video.framing import Framing, frame_clip
from ds4d.video.picture_files import PICTURE_SUFFIXES, PictureFiles

_DETAIL = 3  # how much larger than the framed pictures frames are read: the object may be small in them


@dataclass(frozen=True)
class LoadedVideo:
    """A film, ready for a view generator.

    Attributes:
        video: the object alone, framed.
        framing: where the framed pictures lie in the film.
        seconds: when each frame is shown in the file.
    """

    video: Video
    framing: Framing
    seconds: tuple[float, ...]


def load_video(path: str | Path, config: VideoConfig) -> LoadedVideo:
    """Reads frames of a film, cuts the object out and frames it with one square for the whole clip.

    Args:
        path: a video file, a folder of numbered pictures, a folder with them in `ref/`, or one picture.
        config: which frames, how they are cut out, and their size.

    Raises:
        ValueError: the file cannot be read, or the object cannot be cut out.
        ImportError: a package that the file or the matting needs is not installed.
    """
    source = open_source(Path(path), config)
    indices = choose_frames(source.seconds, config)
    read = dict(source.read(sorted(set(indices)), _DETAIL * config.size, alpha=config.matting in ("auto", "alpha")))
    indices = [index for index in indices if index in read]
    cut = dict(zip(read, cut_out(list(read.values()), config), strict=True))
    if not any(picture[..., 3].any() for picture in cut.values()):
        raise ValueError(f"{path} must show an object, got frames that are empty once cut out. See ds4d check.")
    framing = frame_clip(list(cut.values()), source.size, config.size, config.fill)
    framed = {index: framing.apply(picture) for index, picture in cut.items()}
    pictures = np.stack([framed[index] for index in indices])[:, None]
    seconds = tuple(source.seconds[index] for index in indices)
    return LoadedVideo(Video(ArrayFrames(pictures), _rate(source.seconds, seconds)), framing, seconds)


def open_source(path: Path, config: VideoConfig) -> FilmFile | PictureFiles:
    """The frames at a path, not yet read."""
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return PictureFiles(path, config.fps)
    return FilmFile(path)


def _rate(film: list[float], clip: tuple[float, ...]) -> float:
    """Frames per second of the clip; a single frame has the film's rate."""
    for seconds in (clip, film):
        if len(seconds) > 1:
            return (len(seconds) - 1) / (seconds[-1] - seconds[0])
    return 24.0
