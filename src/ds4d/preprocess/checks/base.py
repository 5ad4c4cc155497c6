"""What a check of a video receives and returns."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt

from ds4d.core import ArrayList
from ds4d.io import Size, reduced_size, resize_premultiplied
from ds4d.preprocess.crop import CropBox
from ds4d.preprocess.hidden import Borders
from ds4d.preprocess.matting import Mattes
from ds4d.preprocess.objects import OPAQUE
from ds4d.preprocess.raw_video import VideoInfo
from ds4d.preprocess.stabilization import Stabilization

FAR = 0.08  # of the crop's side: outlines that move farther from one frame to the next are hard to follow
_MOST_FOLLOWED = 200  # frames; longer clips are fitted in windows, and show more of the motion
_MOTION_SIDE = 128  # of the crop, pixels, at which motion is measured
_THUMBNAIL_SIDE = 96  # longer side of the images that whole frames are compared at, pixels


@dataclass(frozen=True)
class Finding:
    """A problem of an input video.

    Attributes:
        name: stable identifier of the problem, for programs.
        severity: a fatal problem stops the run, a warning lowers the quality, a note is for information.
        what: description of the problem, one sentence.
        fix: what to do about it, one or more sentences; may be empty for a note.
    """

    name: str
    severity: Literal["fatal", "warning", "note"]
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what} {self.fix}".strip()


@dataclass(frozen=True)
class CheckContext:
    """A video, its mattes and its crop.

    Attributes:
        video: times of the frames, and size of the video.
        thumbnails: the frames at a low resolution, premultiplied.
        mattes: foreground of each frame, without what was removed from it.
        removed: by frame, area of the removed objects as a fraction of the kept object's area.
        crop: the crop around the foreground; None if all mattes are empty.
        borders: alpha of the mattes along each side of the video as it was filmed, by the name of the side.
        stabilization: how the frames were aligned; None if `--stabilize` is off.
        must_stabilize: whether `--stabilize` is on.
        has_poses: whether the camera moves along known poses (`--cameras`).
        follow: whether the object is followed by optical flow (`--follow`).
    """

    video: VideoInfo
    thumbnails: UInt8[np.ndarray, "T h w 4"]
    mattes: Mattes
    removed: tuple[float, ...]
    crop: CropBox | None
    borders: Borders
    stabilization: Stabilization | None = None
    must_stabilize: bool = False
    has_poses: bool = False
    follow: Literal["auto", "on", "off"] = "off"

    @property
    def seconds(self) -> tuple[float, ...]:
        """Time of each frame in the video."""
        return self.video.seconds

    @cached_property
    def masks(self) -> Sequence[Bool[np.ndarray, "H W"]]:
        """Mask of the foreground in each frame."""
        return ArrayList(image[..., 3] >= OPAQUE for image in self.mattes.images)

    @cached_property
    def motion(self) -> Float[np.ndarray, " steps"]:
        """How far the outline moves from each frame to the next, as a fraction of the crop's side."""
        assert self.crop is not None
        scale = self.masks[0].shape[1] / self.video.size.width
        return _outline_motion(self.masks, self.crop.side * scale)

    @property
    def may_follow(self) -> bool:
        """Whether the object can be followed: mattes of frames between must cost little, and the camera stand still."""
        if self.crop is None or not 2 <= len(self.seconds) <= _MOST_FOLLOWED or self.has_poses:
            return False
        return self.mattes.method in ("alpha", "color")

    @property
    def is_followed(self) -> bool:
        """Whether the object is followed; by default, if it moves far where there are frames between."""
        if self.follow == "off" or not self.may_follow:
            return False
        has_between = np.diff(self.video.indices) > 1
        return self.follow == "on" or bool((has_between & (self.motion > FAR)).any())

    @cached_property
    def coverage(self) -> Float[np.ndarray, " T"]:
        """Fraction of each frame that the foreground covers."""
        return np.array([mask.mean() for mask in self.masks])

    @cached_property
    def matte_thumbnails(self) -> UInt8[np.ndarray, "T h w 4"]:
        """The mattes at the resolution of the thumbnails."""
        return make_thumbnails(self.mattes.images)


def make_thumbnails(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> UInt8[np.ndarray, "T h w 4"]:
    """Premultiplied images at a low resolution for comparing them as a whole."""
    height, width = images[0].shape[:2]
    size = reduced_size(Size(width, height), _THUMBNAIL_SIDE)
    return ArrayList(resize_premultiplied(image, *size) for image in images).stacked()


def describe_frames(selected: Bool[np.ndarray, " T"], seconds: Sequence[float]) -> str:
    """How many frames are selected, and at what times in the video."""
    first, last = (seconds[index] for index in np.flatnonzero(selected)[[0, -1]])
    when = f"at {first:.2f} s" if first == last else f"{first:.2f} s to {last:.2f} s"
    return f"in {np.count_nonzero(selected)} of {len(selected)} frames ({when})"


def _outline_motion(masks: Sequence[Bool[np.ndarray, "H W"]], side: float) -> Float[np.ndarray, " steps"]:
    """How far the masks reach beyond those of the frame before or after, as a fraction of the crop's side.

    It is the distance of the mask's pixels from the other mask, exceeded by 5 % of them, the larger of both directions.

    Args:
        masks: mask of each frame.
        side: side of the crop, in pixels of the masks.
    """
    step = max(1, round(side / _MOTION_SIDE))
    motion = []
    for before, after in itertools.pairwise(mask[::step, ::step] for mask in masks):
        reach = [
            np.percentile(distance_transform_edt(~other)[mask], 95) if mask.any() and other.any() else 0.0
            for mask, other in ((before, after), (after, before))
        ]
        motion.append(float(max(reach)) * step / side)
    return np.array(motion)
