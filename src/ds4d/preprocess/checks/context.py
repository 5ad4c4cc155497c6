"""What the checks of a video look at."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.io import resize_premultiplied
from ds4d.io.sizes import Size, reduced
from ds4d.preprocess.framing import Framing
from ds4d.preprocess.matting.mattes import Mattes
from ds4d.preprocess.objects import SOLID
from ds4d.preprocess.raw_video import RawVideo

_SMALL = 96  # longer side of the images that whole frames are compared at, pixels


@dataclass(frozen=True)
class CheckContext:
    """A video, its cut-out and its framing.

    Attributes:
        video: the frames as they are.
        cut: the object alone, with the way it was cut out.
        left_out: by frame, things that were not kept, share of the object's area.
        framing: the square round it; None where there is nothing to frame.
    """

    video: RawVideo
    cut: Mattes
    left_out: tuple[float, ...]
    framing: Framing | None

    @property
    def seconds(self) -> tuple[float, ...]:
        """When each frame is shown."""
        return self.video.seconds

    @cached_property
    def masks(self) -> list[Bool[np.ndarray, "H W"]]:
        """The object's silhouettes."""
        return [image[..., 3] >= SOLID for image in self.cut.images]

    @cached_property
    def coverage(self) -> Float[np.ndarray, " T"]:
        """Share of the image that the object covers."""
        return np.array([mask.mean() for mask in self.masks])

    @cached_property
    def small_video(self) -> UInt8[np.ndarray, "T h w 4"]:
        """The frames at a size for comparing them."""
        return _shrunk(self.video.images)

    @cached_property
    def small_cut(self) -> UInt8[np.ndarray, "T h w 4"]:
        """The cut-outs at the same size."""
        return _shrunk(self.cut.images)


def _shrunk(images: list[UInt8[np.ndarray, "H W 4"]]) -> UInt8[np.ndarray, "T h w 4"]:
    height, width = images[0].shape[:2]
    size = reduced(Size(width, height), _SMALL)
    return np.stack([resize_premultiplied(image, *size) for image in images])
