"""From a file to a clip of the object alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ds4d.core import Warned, notify
from ds4d.preprocess.checks import CheckContext, check_clip
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.findings import Finding
from ds4d.preprocess.framing import Framing, frame_clip
from ds4d.preprocess.matting.mattes import Mattes, extract_mattes
from ds4d.preprocess.objects import keep_objects
from ds4d.preprocess.raw_video import read_raw_video
from ds4d.types import ArrayFrames, Video


@dataclass(frozen=True)
class LoadedVideo:
    """A video, ready for a view generator.

    Attributes:
        video: the object alone, framed.
        framing: where the framed images lie in the video.
        seconds: when each frame is shown in the video.
        findings: what was found about it, none of it fatal.
    """

    video: Video
    framing: Framing
    seconds: tuple[float, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Inspection:
    """A video with all that was found about it.

    Attributes:
        context: the video, its cut-out and its framing.
        findings: the worst first.
    """

    context: CheckContext
    findings: tuple[Finding, ...]

    @property
    def is_fit(self) -> bool:
        """Whether nothing that was found is fatal."""
        return all(finding.severity != "fatal" for finding in self.findings)


def load_video(path: str | Path, config: VideoConfig) -> LoadedVideo:
    """Reads frames of a video, cuts the object out and frames it with one square for the whole clip.

    Findings that lower the quality are passed on as notices.

    Args:
        path: a video file, a folder of numbered images, a folder with them in `ref/`, or one image.
        config: which frames, how they are cut out, and their size.

    Raises:
        ValueError: the file cannot be read, the object cannot be cut out, or the video is unfit; the message names all
            that is fatal and the mend.
        ImportError: a package that the file or the matting needs is not installed.
    """
    inspection = inspect_video(path, config)
    context, framing = inspection.context, inspection.context.framing
    if not inspection.is_fit or framing is None:
        fatal = " ".join(str(finding) for finding in inspection.findings if finding.severity == "fatal")
        raise ValueError(f"{path} cannot be used. {fatal} ds4d check shows what is seen in it.")
    for finding in inspection.findings:
        if finding.severity == "warning":
            notify(Warned("input", f"{path}: {finding}"))
    images = np.empty((len(context.seconds), 1, config.size, config.size, 4), np.uint8)
    for time, image in enumerate(context.cut.images):
        images[time, 0] = framing.apply(image)
    video = Video(ArrayFrames(images), context.video.fps)
    return LoadedVideo(video, framing, context.seconds, inspection.findings)


def inspect_video(path: str | Path, config: VideoConfig) -> Inspection:
    """Reads and cuts out as `load_video` does with these arguments; raises only where there is nothing to look at."""
    video = read_raw_video(Path(path), config)
    everything = extract_mattes(video.images, config)
    kept = keep_objects(everything.images, config.keep)
    framing = frame_clip(kept.images, video.size, config.size, config.fill) if _any_seen(kept.images) else None
    context = CheckContext(video, Mattes(kept.images, everything.way), kept.left_out, framing)
    return Inspection(context, check_clip(context))


def _any_seen(images: list[UInt8[np.ndarray, "H W 4"]]) -> bool:
    return any(bool(image[..., 3].any()) for image in images)
