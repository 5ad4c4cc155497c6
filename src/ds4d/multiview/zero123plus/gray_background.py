"""Matting of views against the gray background that Zero123++ generates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.core import Warned, notify
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.matting import extract_mattes
from ds4d.preprocess.matting.plain_background import PlainBackground, find_plain_background, matte_plain_background

_GRAY = PlainBackground(
    (127.0, 127.0, 127.0), 8.0
)  # as in the training data; for views without background at the border
_FINER = (0.6, 0.4)  # factors of the color tolerance, tried in turn
_GROWTH = 1.05  # of the mask's area, above which a part has appeared and not noise
_HEIGHTS = (0.75, 1.15)  # of the object relative to the video; from above, upright objects have 0.87 or more
_OPAQUE = 128  # of 255


@dataclass(frozen=True)
class _Matte:
    """One matted view over time, the area of its masks, and the height of the object relative to the input view."""

    images: UInt8[np.ndarray, "T s s 4"]
    area: int
    height: float


def matte_views(
    views: UInt8[np.ndarray, "T V s s 3"],
    input_heights: Float[np.ndarray, " T"],
    names: Sequence[str],
    *,
    same_size: bool,
    model: Path | None,
) -> UInt8[np.ndarray, "T V s s 4"]:
    """Mattes the views; premultiplied.

    With a matting model, by it. Otherwise each view by the color of its own border over the whole video. Parts of the
    object may be nearly as gray as the background: they are kept if a finer color tolerance makes parts appear without
    making the object higher than in the input view. A notice names views in which the object is still less high.

    Args:
        views: opaque views.
        input_heights: height of the object in the frames of the input view, as a fraction of the square around it.
        names: names of the views, for notices.
        same_size: whether the object has the same scale in the views as in the input view; otherwise the views are
            compared with one another.
        model: file of the matting model, or None.
    """
    clips = [_opaque(views[:, view]) for view in range(views.shape[1])]
    if model:
        config = VideoConfig(matting="model", matting_model=model)
        return np.stack([np.stack(extract_mattes(list(clip), config).images) for clip in clips], axis=1)
    backgrounds = [find_plain_background(list(clip)) or _GRAY for clip in clips]
    mattes = [_matte(clip, background, input_heights) for clip, background in zip(clips, backgrounds, strict=True)]
    usual = 1.0 if same_size else float(np.median([matte.height for matte in mattes]))
    chosen = []
    for clip, background, matte, name in zip(clips, backgrounds, mattes, names, strict=True):
        for factor in _FINER:
            finer = _matte(clip, replace(background, tolerance=factor * background.tolerance), input_heights)
            if finer.area > _GROWTH * matte.area and finer.height <= _HEIGHTS[1] * usual:
                matte = finer
        if matte.height < _HEIGHTS[0] * usual:
            message = (
                f"{name} shows the object at {matte.height / usual:.0%} of its height in the video: parts as gray as "
                "the background may be missing. Use a matting model (--matting-model)."
            )
            notify(Warned("views", message))
        chosen.append(matte.images)
    return np.stack(chosen, axis=1)


def heights(alphas: UInt8[np.ndarray, "T H W"]) -> Float[np.ndarray, " T"]:
    """Height of the object in each image, pixels."""
    rows = np.any(alphas >= _OPAQUE, axis=2)
    above, below = rows.argmax(axis=1), np.flip(rows, axis=1).argmax(axis=1)
    return np.where(rows.any(axis=1), rows.shape[1] - above - below, 0).astype(float)


def _matte(
    clip: UInt8[np.ndarray, "T s s 4"], background: PlainBackground, input_heights: Float[np.ndarray, " T"]
) -> _Matte:
    images = np.stack([matte.image for matte in matte_plain_background(list(clip), background)])
    height = float(np.median(heights(images[..., 3]) / (clip.shape[1] * input_heights)))
    return _Matte(images, int((images[..., 3] >= _OPAQUE).sum()), height)


def _opaque(images: UInt8[np.ndarray, "T s s 3"]) -> UInt8[np.ndarray, "T s s 4"]:
    return np.concatenate((images, np.full_like(images[..., :1], 255)), axis=-1)
