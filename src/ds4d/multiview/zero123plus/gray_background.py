"""Views cut out of the gray that Zero123++ leaves round the object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.core import Warned, notify
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.matting import extract_mattes
from ds4d.preprocess.matting.plain_background import PlainBackground, find_plain_background, matte_plain_background

_GRAY = PlainBackground((127.0, 127.0, 127.0), 8.0)  # what the networks were taught; for views that show no border
_FINER = (0.6, 0.4)  # of the background's tolerance, tried in turn
_GROWTH = 1.05  # of the silhouette's area, from which on it is a part that appears and no noise
_HEIGHTS = (0.75, 1.15)  # of the object in the video; seen from above, upright things are up to 0.87 as high
_SEEN = 128  # of 255


@dataclass(frozen=True)
class _Cut:
    """One view over time, cut out; how many pixels it shows, and how high the object is, the video's being 1."""

    images: UInt8[np.ndarray, "T s s 4"]
    area: int
    height: float


def matte_views(
    views: UInt8[np.ndarray, "T V s s 3"],
    fronts: Float[np.ndarray, " T"],
    names: Sequence[str],
    *,
    same_size: bool,
    model: Path | None,
) -> UInt8[np.ndarray, "T V s s 4"]:
    """The views without their background, premultiplied.

    Where there is a matting model, it tells the object from the background. Else each view is cut by the color of its
    own border over the whole clip. Parts of the object may be about as gray as that: where finer differences in color
    make parts appear, and the object no higher than the video says, they are kept. What is then less high than the
    video says is reported by a warning.

    Args:
        views: opaque.
        fronts: height of the object in the video's frames, share of the square that the networks were shown.
        names: of the views, for warnings.
        same_size: whether the object is as large in the views as in the video; else the views are compared with one
            another.
        model: file of the matting model, if there is one.
    """
    clips = [_opaque(views[:, view]) for view in range(views.shape[1])]
    if model:
        config = VideoConfig(matting="model", matting_model=model)
        return np.stack([np.stack(extract_mattes(list(clip), config).images) for clip in clips], axis=1)
    backgrounds = [find_plain_background(list(clip)) or _GRAY for clip in clips]
    cuts = [_cut(clip, background, fronts) for clip, background in zip(clips, backgrounds, strict=True)]
    usual = 1.0 if same_size else float(np.median([cut.height for cut in cuts]))
    chosen = []
    for clip, background, cut, name in zip(clips, backgrounds, cuts, names, strict=True):
        for share in _FINER:
            finer = _cut(clip, replace(background, tolerance=share * background.tolerance), fronts)
            if finer.area > _GROWTH * cut.area and finer.height <= _HEIGHTS[1] * usual:
                cut = finer
        if cut.height < _HEIGHTS[0] * usual:
            message = (
                f"{name} shows the object at {cut.height / usual:.0%} of its height in the video: parts as gray as the "
                "background may be missing. Use a matting model (--matting-model)."
            )
            notify(Warned("views", message))
        chosen.append(cut.images)
    return np.stack(chosen, axis=1)


def heights(alphas: UInt8[np.ndarray, "T H W"]) -> Float[np.ndarray, " T"]:
    """How many rows the object takes in each image."""
    rows = np.any(alphas >= _SEEN, axis=2)
    above, below = rows.argmax(axis=1), np.flip(rows, axis=1).argmax(axis=1)
    return np.where(rows.any(axis=1), rows.shape[1] - above - below, 0).astype(float)


def _cut(clip: UInt8[np.ndarray, "T s s 4"], background: PlainBackground, fronts: Float[np.ndarray, " T"]) -> _Cut:
    images = np.stack([matte.image for matte in matte_plain_background(list(clip), background)])
    height = float(np.median(heights(images[..., 3]) / (clip.shape[1] * fronts)))
    return _Cut(images, int((images[..., 3] >= _SEEN).sum()), height)


def _opaque(images: UInt8[np.ndarray, "T s s 3"]) -> UInt8[np.ndarray, "T s s 4"]:
    return np.concatenate((images, np.full_like(images[..., :1], 255)), axis=-1)
