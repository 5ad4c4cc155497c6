"""One square for the whole clip, so that motion across the film stays motion."""

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
    """Where the framed pictures lie in the film; it may reach beyond the film's border, where nothing is.

    Attributes:
        left: column of the square's left edge, pixels of the film.
        top: row of its upper edge, pixels of the film.
        side: of the square, pixels of the film.
        size: height and width of the framed pictures, pixels.
        film_width: pixels of the film as it is shown.
        film_height: pixels of the film as it is shown.
    """

    left: int
    top: int
    side: int
    size: int
    film_width: int
    film_height: int

    def apply(self, picture: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "S S 4"]:
        """A framed picture of one of the film's, at whatever size that was read; premultiplied."""
        scale = picture.shape[1] / self.film_width
        left, top, side = round(scale * self.left), round(scale * self.top), max(1, round(scale * self.side))
        square = np.zeros((side, side, 4), np.uint8)
        _paste(picture, square, -left, -top)
        return resize_premultiplied(square, self.size, self.size)

    def put_back(self, framed: UInt8[np.ndarray, "S S 4"]) -> UInt8[np.ndarray, "H W 4"]:
        """A framed picture, for instance a rendering, back in its place in the film; premultiplied."""
        film = np.zeros((self.film_height, self.film_width, 4), np.uint8)
        _paste(resize_premultiplied(framed, self.side, self.side), film, self.left, self.top)
        return film


@dataclass(frozen=True)
class FilmPlace:
    """How the pictures of a run lie in the film that they come from.

    Attributes:
        framing: the square that was cut from it.
        viewmat: of the film's camera, 4 x 4, in the user's world.
        K: of that camera for the framed pictures, 3 x 3, pixels.
    """

    framing: Framing
    viewmat: tuple[tuple[float, ...], ...]
    K: tuple[tuple[float, ...], ...]


def frame_clip(pictures: Sequence[UInt8[np.ndarray, "h w 4"]], film: Size, size: int, fill: float) -> Framing:
    """The square round all that the object covers during the clip.

    Args:
        pictures: cut out, of one size; at least one shows something.
        film: size of the film as it is shown.
        size: of the framed pictures, pixels.
        fill: share of the square's side that the object takes, the larger of width and height.
    """
    covered = np.zeros(pictures[0].shape[:2], bool)
    for picture in pictures:
        covered |= picture[..., 3] >= _SEEN
    rows, columns = bounding_box(covered)
    scale = film.width / pictures[0].shape[1]
    side = round(scale * max(rows.stop - rows.start, columns.stop - columns.start) / fill)
    return Framing(
        left=round(scale * (columns.start + columns.stop) / 2 - side / 2),
        top=round(scale * (rows.start + rows.stop) / 2 - side / 2),
        side=side,
        size=size,
        film_width=film.width,
        film_height=film.height,
    )


def _paste(picture: UInt8[np.ndarray, "h w 4"], canvas: UInt8[np.ndarray, "H W 4"], left: int, top: int) -> None:
    """Writes the picture into the canvas; what reaches beyond is left out."""
    height, width = picture.shape[:2]
    rows = slice(max(0, top), max(0, min(canvas.shape[0], top + height)))
    columns = slice(max(0, left), max(0, min(canvas.shape[1], left + width)))
    canvas[rows, columns] = picture[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
