"""What was seen in a video, as one image."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from ds4d.io import contact_sheet, resize_premultiplied
from ds4d.io.sizes import Size, reduced
from ds4d.preprocess.framing import Framing
from ds4d.preprocess.loading import Inspection

_COLUMNS = 8
_TILE = 192  # height and width of each image, pixels
_FRAME = (230, 60, 60)  # the color of the square that is cut out
_CHECKS = (120, 170)  # gray levels behind the cut-out: both white and black fringes show on them


def draw_inspection(inspection: Inspection) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet: frames of the video with the square that is used, above the framed cut-outs on gray checks."""
    context = inspection.context
    count = len(context.seconds)
    columns = np.linspace(0, count - 1, min(_COLUMNS, count)).round().astype(int)
    video = [_show_video(context.video.images[i], context.framing) for i in columns]
    cut = [_show_cut(context.cut.images[i], context.framing) for i in columns]
    labels = [f"{context.seconds[i]:.2f} s" for i in columns]
    return contact_sheet([video, cut], column_labels=labels, row_labels=["video", "cut out"])


def _show_video(image: UInt8[np.ndarray, "H W 4"], framing: Framing | None) -> UInt8[np.ndarray, "S S 3"]:
    tile = Image.fromarray(_on_checks(_fitted(image)))
    if framing is not None:
        scale = _TILE / max(framing.video_width, framing.video_height)
        left = (_TILE - scale * framing.video_width) / 2 + scale * framing.left
        top = (_TILE - scale * framing.video_height) / 2 + scale * framing.top
        side = scale * framing.side
        ImageDraw.Draw(tile).rectangle((left, top, left + side, top + side), outline=_FRAME, width=2)
    return np.array(tile)


def _show_cut(image: UInt8[np.ndarray, "H W 4"], framing: Framing | None) -> UInt8[np.ndarray, "S S 3"]:
    if framing is None:
        return _on_checks(_fitted(image))
    return _on_checks(resize_premultiplied(framing.apply(image), _TILE, _TILE))


def _fitted(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "S S 4"]:
    """The whole image in the middle of a square."""
    width, height = reduced(Size(*image.shape[1::-1]), _TILE)
    out = np.zeros((_TILE, _TILE, 4), np.uint8)
    top, left = (_TILE - height) // 2, (_TILE - width) // 2
    out[top : top + height, left : left + width] = resize_premultiplied(image, width, height)
    return out


def _on_checks(image: UInt8[np.ndarray, "S S 4"]) -> UInt8[np.ndarray, "S S 3"]:
    rows, columns = np.indices(image.shape[:2]) // 12
    gray = np.where((rows + columns) % 2, *_CHECKS)[..., None]
    return (image[..., :3] + (255 - image[..., 3:].astype(int)) * gray // 255).clip(0, 255).astype(np.uint8)
