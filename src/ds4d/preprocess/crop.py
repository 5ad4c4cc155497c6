"""One square crop for the whole clip, so that motion across the image is preserved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from ds4d.core import ArrayList
from ds4d.io import Size, resize_premultiplied
from ds4d.preprocess.components import bounding_box
from ds4d.preprocess.stabilization import Matrix, Stabilization

_VISIBLE = 32  # of 255: pixels with a smaller alpha do not count as foreground


@dataclass(frozen=True)
class CropBox:
    """A square of a video's image plane; it may extend beyond the image, where it is empty.

    Attributes:
        left: column of the square's left edge, in pixels of the video.
        top: row of the square's upper edge, in pixels of the video.
        side: side of the square, in pixels of the video.
        size: height and width of the cropped images, in pixels.
        video_width: width of the video as displayed, in pixels.
        video_height: height of the video as displayed, in pixels.
    """

    left: int
    top: int
    side: int
    size: int
    video_width: int
    video_height: int

    def crop(self, image: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "S S 4"]:
        """Crops a frame of the video.

        Args:
            image: the frame at any resolution, premultiplied
        """
        scale = image.shape[1] / self.video_width
        left, top, side = round(scale * self.left), round(scale * self.top), max(1, round(scale * self.side))
        square = np.zeros((side, side, 4), np.uint8)
        _paste(image, square, -left, -top)
        return resize_premultiplied(square, self.size, self.size)

    def paste_back(self, cropped: UInt8[np.ndarray, "S S 4"]) -> UInt8[np.ndarray, "H W 4"]:
        """Pastes a cropped image, for instance a rendering, into an empty frame of the video; premultiplied."""
        frame = np.zeros((self.video_height, self.video_width, 4), np.uint8)
        _paste(resize_premultiplied(cropped, self.side, self.side), frame, self.left, self.top)
        return frame


@dataclass(frozen=True)
class VideoCrop:
    """Crop metadata: relates the training images of a run to the video they were cropped from.

    Attributes:
        box: the square that was cropped.
        viewmat: world-to-camera matrix of the video's camera in world space, 4 x 4.
        K: intrinsics of that camera for the cropped images, 3 x 3, in pixels.
        alignment: how frames were aligned before they were cropped (`Stabilization.matrices`); none if they were not.
    """

    box: CropBox
    viewmat: tuple[tuple[float, ...], ...]
    K: tuple[tuple[float, ...], ...]
    alignment: tuple[Matrix, ...] = ()

    def paste_back(self, cropped: UInt8[np.ndarray, "S S 4"], time: int) -> UInt8[np.ndarray, "H W 4"]:
        """Pastes a cropped image into an empty frame of the video, as it was filmed at a time; premultiplied."""
        frame = self.box.paste_back(cropped)
        if not self.alignment:
            return frame
        return Stabilization(self.alignment).unaligned(frame, time, Size(frame.shape[1], frame.shape[0]))

    def aligned(self, images: Sequence[UInt8[np.ndarray, "h w 4"]]) -> Sequence[UInt8[np.ndarray, "h w 4"]]:
        """Frames of the video as they were aligned before they were cropped; transparent where they do not reach."""
        if not self.alignment:
            return images
        stabilization, size = Stabilization(self.alignment), Size(self.box.video_width, self.box.video_height)
        return ArrayList(stabilization.aligned(image, time, size) for time, image in enumerate(images))


def foreground_crop_box(images: Sequence[UInt8[np.ndarray, "h w 4"]], video: Size, size: int, fill: float) -> CropBox:
    """The square around everything that the foreground covers during the clip.

    Args:
        images: mattes of one size, premultiplied, at least one of them not empty.
        video: size of the video as displayed.
        size: height and width of the cropped images, in pixels.
        fill: fraction of the square's side that the foreground covers, the larger of width and height.
    """
    covered = np.zeros(images[0].shape[:2], bool)
    for image in images:
        covered |= image[..., 3] >= _VISIBLE
    rows, columns = bounding_box(covered)
    scale = video.width / images[0].shape[1]
    side = round(scale * max(rows.stop - rows.start, columns.stop - columns.start) / fill)
    return CropBox(
        left=round(scale * (columns.start + columns.stop) / 2 - side / 2),
        top=round(scale * (rows.start + rows.stop) / 2 - side / 2),
        side=side,
        size=size,
        video_width=video.width,
        video_height=video.height,
    )


def _paste(image: UInt8[np.ndarray, "h w 4"], canvas: UInt8[np.ndarray, "H W 4"], left: int, top: int) -> None:
    """Writes an image into a canvas; what extends beyond the canvas is cropped."""
    height, width = image.shape[:2]
    rows = slice(max(0, top), max(0, min(canvas.shape[0], top + height)))
    columns = slice(max(0, left), max(0, min(canvas.shape[1], left + width)))
    canvas[rows, columns] = image[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
