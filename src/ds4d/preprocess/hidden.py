"""Pixels in which the object cannot be seen: something is in front of it, or the border of the video cuts it."""

from collections.abc import Iterable, MutableSequence, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from ds4d.preprocess.components import dilate
from ds4d.preprocess.crop import CropBox

WEIGHTS_SIZE = 64  # height and width of the weights, pixels
_OPAQUE = 128  # of 255
_SAME = 24  # levels between two frames in which nothing moves
_MARGIN = 1  # pixels of the weights around hidden ones: masks are never exact
_MIN_CUT = 3  # pixels of the object at the border of the video


def fill_hidden(
    images: MutableSequence[UInt8[np.ndarray, "H W 4"]], masks: Iterable[Float[np.ndarray, "H W"]]
) -> list[Bool[np.ndarray, "H W"]]:
    """Fills hidden pixels, so that view generators get whole images.

    A pixel gets what the nearest frame shows there if the two nearest ones agree, so that nothing moves there; else
    what the nearest pixel of its own frame shows.

    Args:
        images: mattes of a clip, premultiplied; each is replaced.
        masks: mask of each frame, in [0, 1]: 1 where the object is hidden.

    Returns:
        The hidden pixels of each frame.
    """
    hidden = [mask >= 0.5 for mask in masks]
    shown = [image.copy() for image in images]
    for time, mask in enumerate(hidden):
        if not mask.any():
            continue
        nearest = distance_transform_edt(mask, return_distances=False, return_indices=True)
        filled = shown[time][tuple(nearest)] if not mask.all() else np.zeros_like(shown[time])
        rows, columns = np.nonzero(mask)
        values, counts = np.zeros((2, len(rows), 4), np.int16), np.zeros(len(rows), int)
        for other in sorted(range(len(shown)), key=lambda index: abs(index - time)):
            found = np.flatnonzero(~hidden[other][rows, columns] & (counts < 2))
            values[counts[found], found] = shown[other][rows[found], columns[found]]
            counts[found] += 1
            if (counts == 2).all():
                break
        stands_still = (counts == 2) & (np.abs(values[0] - values[1]).max(axis=-1) <= _SAME)
        filled[rows[stands_still], columns[stands_still]] = values[0, stands_still]
        images[time] = filled
    return hidden


def visible_weights(
    images: Sequence[UInt8[np.ndarray, "H W 4"]], hidden: Sequence[Bool[np.ndarray, "H W"]], crop: CropBox
) -> Float[Tensor, "T 1 h w"] | None:
    """Weights of the pixels of the cropped frames: 0 where the object is hidden.

    Beyond a side of the video that cuts the object, nothing is known of it in that frame; beyond the others there is
    nothing.

    Args:
        images: mattes of a clip before they are cropped, premultiplied.
        hidden: hidden pixels of each frame; none if there are no masks of them.
        crop: the crop.

    Returns:
        Weights in [0, 1]; None if all are 1.
    """
    unseen = []
    for time, image in enumerate(images):
        pixels = _beyond_cut_sides(image[..., 3], crop)
        if hidden and hidden[time].any():
            mask = np.repeat(np.where(hidden[time], 255, 0).astype(np.uint8)[..., None], 4, axis=-1)
            pixels |= _small(crop.crop(mask)[..., 3]) > 0
        unseen.append(dilate(pixels, _MARGIN))
    if not any(pixels.any() for pixels in unseen):
        return None
    return torch.from_numpy(np.stack(unseen)[:, None] == 0).float()


def _beyond_cut_sides(alpha: UInt8[np.ndarray, "H W"], crop: CropBox) -> Bool[np.ndarray, "h w"]:
    """The pixels of the crop that lie beyond a side of the video which cuts the object."""
    at = (np.arange(WEIGHTS_SIZE) + 0.5) / WEIGHTS_SIZE * crop.side
    columns, rows = crop.left + at, crop.top + at
    beyond = {
        "left": (alpha[:, 0], np.broadcast_to(columns < 0, (WEIGHTS_SIZE, WEIGHTS_SIZE))),
        "right": (alpha[:, -1], np.broadcast_to(columns > crop.video_width, (WEIGHTS_SIZE, WEIGHTS_SIZE))),
        "top": (alpha[0], np.broadcast_to((rows < 0)[:, None], (WEIGHTS_SIZE, WEIGHTS_SIZE))),
        "bottom": (alpha[-1], np.broadcast_to((rows > crop.video_height)[:, None], (WEIGHTS_SIZE, WEIGHTS_SIZE))),
    }
    unseen = np.zeros((WEIGHTS_SIZE, WEIGHTS_SIZE), bool)
    for border, outside in beyond.values():
        if (border >= _OPAQUE).sum() >= _MIN_CUT:
            unseen |= outside
    return unseen


def _small(alpha: UInt8[np.ndarray, "S S"]) -> UInt8[np.ndarray, "h w"]:
    """The largest value of the pixels that become one."""
    values = torch.from_numpy(np.ascontiguousarray(alpha))[None, None].float()
    return F.adaptive_max_pool2d(values, (WEIGHTS_SIZE, WEIGHTS_SIZE))[0, 0].byte().numpy()
