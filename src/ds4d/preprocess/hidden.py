"""Pixels in which the object cannot be seen: something is in front of it, or the border of the video cuts it."""

from collections.abc import Iterable, Mapping, MutableSequence, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from ds4d.preprocess.components import dilate
from ds4d.preprocess.crop import CropBox
from ds4d.preprocess.stabilization import Stabilization

Borders = Mapping[str, Sequence[UInt8[np.ndarray, " n"]]]
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


def border_alphas(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> Borders:
    """The alpha of mattes along each side of the video, by the name of the side."""
    return {
        "left": [image[:, 0, 3].copy() for image in images],
        "right": [image[:, -1, 3].copy() for image in images],
        "top": [image[0, :, 3].copy() for image in images],
        "bottom": [image[-1, :, 3].copy() for image in images],
    }


def visible_weights(
    borders: Borders,
    hidden: Sequence[Bool[np.ndarray, "H W"]],
    crop: CropBox,
    stabilization: Stabilization,
) -> Float[Tensor, "T 1 h w"] | None:
    """Weights of the pixels of the cropped frames: 0 where the object is hidden.

    Beyond a side of the video that cuts the object, nothing is known of it in that frame; beyond the others there is
    nothing.

    Args:
        borders: alpha of the mattes along the sides of the video as it was filmed, from `border_alphas`.
        hidden: hidden pixels of each aligned frame; none if there are no masks of them.
        crop: the crop of the aligned frames.
        stabilization: how the frames were aligned.

    Returns:
        Weights in [0, 1]; None if all are 1.
    """
    unseen = []
    for time in range(len(borders["left"])):
        cut = [side for side, lines in borders.items() if (lines[time] >= _OPAQUE).sum() >= _MIN_CUT]
        pixels = _beyond_sides(cut, crop, stabilization, time)
        if hidden and hidden[time].any():
            mask = np.repeat(np.where(hidden[time], 255, 0).astype(np.uint8)[..., None], 4, axis=-1)
            pixels |= _small(crop.crop(mask)[..., 3]) > 0
        unseen.append(dilate(pixels, _MARGIN))
    if not any(pixels.any() for pixels in unseen):
        return None
    return torch.from_numpy(np.stack(unseen)[:, None] == 0).float()


def _beyond_sides(
    sides: Sequence[str], crop: CropBox, stabilization: Stabilization, time: int
) -> Bool[np.ndarray, "h w"]:
    """The pixels of the crop that lie beyond some sides of the video as it was filmed."""
    at = (np.arange(WEIGHTS_SIZE) + 0.5) / WEIGHTS_SIZE * crop.side
    columns, rows = np.meshgrid(crop.left + at, crop.top + at)
    x, y = stabilization.filmed(np.stack((columns, rows), axis=-1).reshape(-1, 2), time).T
    beyond = {"left": x < 0, "right": x > crop.video_width, "top": y < 0, "bottom": y > crop.video_height}
    unseen = np.zeros(x.shape, bool)
    for side in sides:
        unseen |= beyond[side]
    return unseen.reshape(WEIGHTS_SIZE, WEIGHTS_SIZE)


def _small(alpha: UInt8[np.ndarray, "S S"]) -> UInt8[np.ndarray, "h w"]:
    """The largest value of the pixels that become one."""
    values = torch.from_numpy(np.ascontiguousarray(alpha))[None, None].float()
    return F.adaptive_max_pool2d(values, (WEIGHTS_SIZE, WEIGHTS_SIZE))[0, 0].byte().numpy()
