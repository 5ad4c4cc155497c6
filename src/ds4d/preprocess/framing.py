"""One square for the whole clip, so that motion across the video stays motion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ds4d.io import resize_premultiplied
from ds4d.io.sizes import Size
from ds4d.preprocess.regions import bounding_box

_SEEN = 32  # of 255: fainter pixels do not count as the object


@dataclass(frozen=True)
class Framing:
    """Where the framed images lie in the video; it may reach beyond the video's border, where nothing is.

    Attributes:
        left: column of the square's left edge, pixels of the video.
        top: row of its upper edge, pixels of the video.
        side: of the square, pixels of the video.
        size: height and width of the framed images, pixels.
        video_width: pixels of the video as it is shown.
        video_height: pixels of the video as it is shown.
    """

    left: int
    top: int
    side: int
    size: int
    video_width: int
    video_height: int

    def apply(self, image: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "S S 4"]:
        """A framed image of one of the video's, at whatever size that was read; premultiplied."""
        scale = image.shape[1] / self.video_width
        left, top, side = round(scale * self.left), round(scale * self.top), max(1, round(scale * self.side))
        square = np.zeros((side, side, 4), np.uint8)
        _paste(image, square, -left, -top)
        return resize_premultiplied(square, self.size, self.size)

    def put_back(self, framed: UInt8[np.ndarray, "S S 4"]) -> UInt8[np.ndarray, "H W 4"]:
        """A framed image, for instance a rendering, back in its place in the video; premultiplied."""
        video = np.zeros((self.video_height, self.video_width, 4), np.uint8)
        _paste(resize_premultiplied(framed, self.side, self.side), video, self.left, self.top)
        return video


@dataclass(frozen=True)
class VideoCrop:
    """How the images of a run lie in the video that they come from.

    Attributes:
        framing: the square that was cut from it.
        viewmat: of the video's camera, 4 x 4, in the user's world.
        K: of that camera for the framed images, 3 x 3, pixels.
    """

    framing: Framing
    viewmat: tuple[tuple[float, ...], ...]
    K: tuple[tuple[float, ...], ...]


def frame_clip(images: Sequence[UInt8[np.ndarray, "h w 4"]], video: Size, size: int, fill: float) -> Framing:
    """The square round all that the object covers during the clip.

    Args:
        images: cut out, of one size; at least one shows something.
        video: size of the video as it is shown.
        size: of the framed images, pixels.
        fill: share of the square's side that the object takes, the larger of width and height.
    """
    covered = np.zeros(images[0].shape[:2], bool)
    for image in images:
        covered |= image[..., 3] >= _SEEN
    rows, columns = bounding_box(covered)
    scale = video.width / images[0].shape[1]
    side = round(scale * max(rows.stop - rows.start, columns.stop - columns.start) / fill)
    return Framing(
        left=round(scale * (columns.start + columns.stop) / 2 - side / 2),
        top=round(scale * (rows.start + rows.stop) / 2 - side / 2),
        side=side,
        size=size,
        video_width=video.width,
        video_height=video.height,
    )


def _paste(image: UInt8[np.ndarray, "h w 4"], canvas: UInt8[np.ndarray, "H W 4"], left: int, top: int) -> None:
    """Writes the image into the canvas; what reaches beyond is left out."""
    height, width = image.shape[:2]
    rows = slice(max(0, top), max(0, min(canvas.shape[0], top + height)))
    columns = slice(max(0, left), max(0, min(canvas.shape[1], left + width)))
    canvas[rows, columns] = image[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
