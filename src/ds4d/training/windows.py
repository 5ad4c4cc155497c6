"""Division of a long clip into windows of frames that overlap."""

import itertools
from dataclasses import dataclass
from typing import Literal

from ds4d.core import check_choices, check_ranges


@dataclass(frozen=True)
class WindowsConfig:
    """How a long clip is divided into windows of frames, each of which is fitted with a motion of its own.

    Attributes:
        mode: whether a clip is divided: auto divides clips of more than `above` frames if no camera moves and every
            view has all frames; on divides any that is longer than a window; off fits every clip as a whole.
        above: number of frames above which auto divides a clip.
        frames: most frames of a window.
        overlap: frames that neighboring windows share, over which one is blended into the other.
        new_gaussians: most Gaussians that the windows after the first one to be fitted add together, and likewise those
            before it, where those that exist cannot show what the images show (`ds4d.training.births`); 0 adds none.
    """

    mode: Literal["auto", "on", "off"] = "auto"
    above: int = 200
    frames: int = 100
    overlap: int = 8
    new_gaussians: int = 2000

    def __post_init__(self) -> None:
        check_choices(self, mode=("auto", "on", "off"))
        check_ranges(self, above="[1, inf)", frames="[6, 100000]", overlap="[2, 100000]")
        check_ranges(self, new_gaussians="[0, 1000000]")
        if 3 * self.overlap > self.frames:  # no frame is in three windows
            raise ValueError(f"overlap must be at most a third of frames, {self.frames // 3}, got {self.overlap}.")


def divide_frames(count: int, config: WindowsConfig) -> list[range]:
    """The windows of a clip in the order of time, as even as they can be.

    The middle frame of one of them is that of the clip, which the canonical Gaussians represent. Neighbors share
    exactly `overlap` frames.

    Args:
        count: number of frames of the clip.
        config: sizes of the windows.

    Returns:
        One window if the clip is not longer than one.
    """
    if count <= config.frames:
        return [range(count)]
    middle, overlap = count // 2, config.overlap
    windows = -(-(count - overlap) // (config.frames - overlap))
    length = -(-(count - overlap) // windows) + overlap
    start = middle - length // 2
    end = start + length
    before = _split(0, start + overlap, config) if start > 0 else []
    after = _split(end - overlap, count, config) if end < count else []
    return [*before, range(max(0, start), min(count, end)), *after]


def _split(start: int, end: int, config: WindowsConfig) -> list[range]:
    """Frames from `start` to before `end` as windows with overlaps."""
    own = end - start - config.overlap  # frames apart from the first overlap
    windows = -(-own // (config.frames - config.overlap))
    starts = [start + round(index * own / windows) for index in range(windows + 1)]
    return [range(first, following + config.overlap) for first, following in itertools.pairwise(starts)]
