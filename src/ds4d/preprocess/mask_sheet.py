"""A contact sheet of a video and its mattes."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from ds4d.io import Size, contact_sheet, reduced_size, resize_premultiplied
from ds4d.preprocess.crop import CropBox
from ds4d.preprocess.loading import PREVIEW_SIDE, Inspection

_CROP_COLOR = (230, 60, 60)
_CHECKERBOARD = (120, 170)  # gray levels: both white and black fringes are visible on them
_CHECKER_SIDE = 12  # pixels


def make_mask_sheet(inspection: Inspection) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet of frames of the video with the crop outlined, above their mattes on a checkerboard."""
    context, crop = inspection.context, inspection.context.crop
    frames = [_frame_tile(image, crop) for image in inspection.previews.values()]
    mattes = [_matte_tile(context.mattes.images[index], crop) for index in inspection.previews]
    labels = [f"{context.seconds[index]:.2f} s" for index in inspection.previews]
    return contact_sheet([frames, mattes], column_labels=labels, row_labels=["video", "matte"])


def _frame_tile(image: UInt8[np.ndarray, "H W 4"], crop: CropBox | None) -> UInt8[np.ndarray, "S S 3"]:
    tile = Image.fromarray(_on_checkerboard(_letterboxed(image)))
    if crop is not None:
        scale = PREVIEW_SIDE / max(crop.video_width, crop.video_height)
        left = (PREVIEW_SIDE - scale * crop.video_width) / 2 + scale * crop.left
        top = (PREVIEW_SIDE - scale * crop.video_height) / 2 + scale * crop.top
        side = scale * crop.side
        ImageDraw.Draw(tile).rectangle((left, top, left + side, top + side), outline=_CROP_COLOR, width=2)
    return np.array(tile)


def _matte_tile(image: UInt8[np.ndarray, "H W 4"], crop: CropBox | None) -> UInt8[np.ndarray, "S S 3"]:
    if crop is None:
        return _on_checkerboard(_letterboxed(image))
    return _on_checkerboard(resize_premultiplied(crop.crop(image), PREVIEW_SIDE, PREVIEW_SIDE))


def _letterboxed(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "S S 4"]:
    """The whole image in the center of a square."""
    width, height = reduced_size(Size(*image.shape[1::-1]), PREVIEW_SIDE)
    out = np.zeros((PREVIEW_SIDE, PREVIEW_SIDE, 4), np.uint8)
    top, left = (PREVIEW_SIDE - height) // 2, (PREVIEW_SIDE - width) // 2
    out[top : top + height, left : left + width] = resize_premultiplied(image, width, height)
    return out


def _on_checkerboard(image: UInt8[np.ndarray, "S S 4"]) -> UInt8[np.ndarray, "S S 3"]:
    rows, columns = np.indices(image.shape[:2]) // _CHECKER_SIDE
    gray = np.where((rows + columns) % 2, *_CHECKERBOARD)[..., None]
    return (image[..., :3] + (255 - image[..., 3:].astype(int)) * gray // 255).clip(0, 255).astype(np.uint8)
