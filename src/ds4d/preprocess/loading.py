"""From a file to a clip of the object alone."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.preprocess.checks import Evidence, check_clip
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.findings import Finding
from ds4d.preprocess.framing import Framing, frame_clip
from ds4d.preprocess.matting.mattes import CutOut, cut_out
from ds4d.preprocess.objects import keep_objects
from ds4d.preprocess.raw_video import read_footage
from ds4d.types import ArrayFrames, Video


@dataclass(frozen=True)
class LoadedVideo:
    """A film, ready for a view generator.

    Attributes:
        video: the object alone, framed.
        framing: where the framed pictures lie in the film.
        seconds: when each frame is shown in the film.
        findings: what was found about it, none of it fatal.
    """

    video: Video
    framing: Framing
    seconds: tuple[float, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Inspection:
    """A film with all that was found about it.

    Attributes:
        evidence: the film, its cut-out and its framing.
        findings: the worst first.
    """

    evidence: Evidence
    findings: tuple[Finding, ...]

    @property
    def is_fit(self) -> bool:
        """Whether nothing that was found is fatal."""
        return all(finding.severity != "fatal" for finding in self.findings)


def load_video(path: str | Path, config: VideoConfig) -> LoadedVideo:
    """Reads frames of a film, cuts the object out and frames it with one square for the whole clip.

    Warnings about the film are given as Python warnings.

    Args:
        path: a video file, a folder of numbered pictures, a folder with them in `ref/`, or one picture.
        config: which frames, how they are cut out, and their size.

    Raises:
        ValueError: the file cannot be read, the object cannot be cut out, or the film is unfit; the message names all
            that is fatal and the mend.
        ImportError: a package that the file or the matting needs is not installed.
    """
    inspection = inspect_video(path, config)
    evidence, framing = inspection.evidence, inspection.evidence.framing
    if not inspection.is_fit or framing is None:
        fatal = " ".join(str(finding) for finding in inspection.findings if finding.severity == "fatal")
        raise ValueError(f"{path} cannot be used. {fatal} ds4d check shows what is seen in it.")
    for finding in inspection.findings:
        if finding.severity == "warning":
            warnings.warn(f"{path}: {finding}", stacklevel=2)
    pictures = np.empty((len(evidence.seconds), 1, config.size, config.size, 4), np.uint8)
    for time, picture in enumerate(evidence.cut.pictures):
        pictures[time, 0] = framing.apply(picture)
    video = Video(ArrayFrames(pictures), evidence.film.fps)
    return LoadedVideo(video, framing, evidence.seconds, inspection.findings)


def inspect_video(path: str | Path, config: VideoConfig) -> Inspection:
    """Reads and cuts out as `load_video` does with these arguments; raises only where there is nothing to look at."""
    film = read_footage(Path(path), config)
    everything = cut_out(film.pictures, config)
    kept = keep_objects(everything.pictures, config.keep)
    framing = frame_clip(kept.pictures, film.size, config.size, config.fill) if _any_seen(kept.pictures) else None
    evidence = Evidence(film, CutOut(kept.pictures, everything.way), kept.left_out, framing)
    return Inspection(evidence, check_clip(evidence))


def _any_seen(pictures: list[UInt8[np.ndarray, "H W 4"]]) -> bool:
    return any(bool(picture[..., 3].any()) for picture in pictures)
