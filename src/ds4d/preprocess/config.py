"""How a video is read, cut out and framed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ds4d.core import check_ranges

Openings = Literal["auto", "cut", "keep"]


@dataclass(frozen=True)
class VideoConfig:
    """How a video of one object is read, cut out and framed.

    Attributes:
        start: first second to use.
        end: last second to use; that of the video if None.
        fps: frames to take per second, at most the video's own rate; a folder of images is taken to be that fast.
            None: frames evenly from start to end.
        frames: how many to take at most. None: all at the rate that is given, or 32 where none is.
        size: height and width of the framed images, pixels.
        fill: share of the square's side that the object takes over the whole clip, the larger of width and height.
        matting: where the cut-out comes from: the file's alpha, a plain background's color, a model; auto takes the
            first of these that there is.
        matting_model: onnx file of the model (U2-Net, IS-Net or RMBG); that of $DS4D_MATTING_MODEL or `ds4d weights` if
            None. Views by Zero123++ are cut out with it, too.
        openings: enclosed regions of a plain background's color: cut out, kept as parts of the object, or (auto) cut
            out if the background is colorful, or if they join it at some time, as the opening under an arm does.
        keep: the largest connected object, or all there are.
    """

    start: float = 0.0
    end: float | None = None
    fps: float | None = None
    frames: int | None = None
    size: int = 512
    fill: float = 0.85
    matting: Literal["auto", "alpha", "color", "model"] = "auto"
    matting_model: Path | None = None
    openings: Openings = "auto"
    keep: Literal["largest", "all"] = "largest"

    def __post_init__(self) -> None:
        check_ranges(self, start="[0, inf)", size="[16, 4096]", fill="(0, 1]")
        if self.end is not None and not self.end >= self.start:
            raise ValueError(f"end must not lie before start, got {self.end} and {self.start}.")
        if self.fps is not None:
            check_ranges(self, fps="(0, inf)")
        if self.frames is not None:
            check_ranges(self, frames="[1, inf)")
