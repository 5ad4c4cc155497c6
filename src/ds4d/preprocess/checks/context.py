"""What the checks of a film look at."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.io import resize_premultiplied
from ds4d.io.sizes import Size, reduced
from ds4d.preprocess.framing import Framing
from ds4d.preprocess.matting.mattes import CutOut
from ds4d.preprocess.objects import SOLID
from ds4d.preprocess.raw_video import Footage

_SMALL = 96  # longer side of the pictures that whole frames are compared at, pixels


@dataclass(frozen=True)
class Evidence:
    """A film, its cut-out and its framing.

    Attributes:
        film: the frames as they are.
        cut: the object alone, with the way it was cut out.
        left_out: by frame, things that were not kept, share of the object's area.
        framing: the square round it; None where there is nothing to frame.
    """

    film: Footage
    cut: CutOut
    left_out: tuple[float, ...]
    framing: Framing | None

    @property
    def seconds(self) -> tuple[float, ...]:
        """When each frame is shown."""
        return self.film.seconds

    @cached_property
    def masks(self) -> list[Bool[np.ndarray, "H W"]]:
        """The object's silhouettes."""
        return [picture[..., 3] >= SOLID for picture in self.cut.pictures]

    @cached_property
    def coverage(self) -> Float[np.ndarray, " T"]:
        """Share of the picture that the object covers."""
        return np.array([mask.mean() for mask in self.masks])

    @cached_property
    def small_film(self) -> UInt8[np.ndarray, "T h w 4"]:
        """The frames at a size for comparing them."""
        return _shrunk(self.film.pictures)

    @cached_property
    def small_cut(self) -> UInt8[np.ndarray, "T h w 4"]:
        """The cut-outs at the same size."""
        return _shrunk(self.cut.pictures)


def _shrunk(pictures: list[UInt8[np.ndarray, "H W 4"]]) -> UInt8[np.ndarray, "T h w 4"]:
    height, width = pictures[0].shape[:2]
    size = reduced(Size(width, height), _SMALL)
    return np.stack([resize_premultiplied(picture, *size) for picture in pictures])
