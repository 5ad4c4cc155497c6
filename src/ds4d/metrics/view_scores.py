"""How well a rendered view follows the true one: color, silhouette and motion.

Everything is measured on 8-bit images composited on white, as files hold them. White surroundings are cheap to get
right, so color is also scored on the object alone and where the truth moves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from ds4d.metrics.psnr import LEAST_MSE
from ds4d.metrics.ssim import ssim

METRICS = ("psnr", "psnr_object", "psnr_dynamic", "ssim", "iou", "motion_error", "still_flicker")

_MOVING_THRESHOLD = 24 / 255  # of color; below it lie shading noise and compression
_MARGIN = 4 / 256  # of the image's height: how far the object's region reaches beyond its silhouette


def score_view(truth: UInt8[np.ndarray, "T H W 4"], rendered: UInt8[np.ndarray, "_ _ _ 4"]) -> dict[str, float]:
    """Scores one view's frames, in their order in time; means over the frames.

    Args:
        truth: true images, straight alpha.
        rendered: images to be scored, straight alpha, of the same size.

    Returns:
        `psnr`: dB over the whole image, at most 60 per image.
        `psnr_object`: dB inside the true silhouette grown by 4 px per 256 px of height.
        `psnr_dynamic`: dB where the truth moves: on a silhouette at some time, and further than 24/255 in any channel
            from the pixel's median over time.
        `ssim`: 11 x 11 Gaussian window, sigma 1.5, mean over RGB.
        `iou`: intersection over union of the silhouettes (alpha above one half).
        `motion_error`: mean absolute difference between rendered and true frame-to-frame changes, in 1/255.
        `still_flicker`: mean absolute frame-to-frame change of the rendering on the part of the object that never
            moves, in 1/255.
        A score without pixels or frames to measure is NaN.

    Raises:
        ValueError: the two differ in shape, or hold no frames.
    """
    if truth.shape != rendered.shape or not len(truth):
        raise ValueError(
            f"score_view: rendered must have the shape of truth {list(truth.shape)} with at least one frame, "
            f"got {list(rendered.shape)}. Render the true view's cameras and times at its size."
        )
    true_colors, colors = on_white(truth), on_white(rendered)
    true_silhouettes, silhouettes = _silhouettes(truth), _silhouettes(rendered)
    moving = _moving_pixels(true_colors, true_silhouettes)
    per_frame: dict[str, list[float]] = {name: [] for name in METRICS[:5]}
    for i in range(len(truth)):
        errors = np.square(colors[i] - true_colors[i]).mean(-1)
        per_frame["psnr"].append(_decibels(errors))
        per_frame["psnr_object"].append(_decibels(errors[_grow(true_silhouettes[i])]))
        per_frame["psnr_dynamic"].append(_decibels(errors[moving[i]]))
        per_frame["ssim"].append(_ssim(colors[i], true_colors[i]))
        per_frame["iou"].append(_iou(silhouettes[i], true_silhouettes[i]))
    scores = {name: _mean(values) for name, values in per_frame.items()}
    still = true_silhouettes.all(0) & ~moving.any(0)
    changes = np.diff(colors, axis=0)
    scores["motion_error"] = _mean(np.abs(np.diff(true_colors, axis=0) - changes) * 255)
    scores["still_flicker"] = _mean(np.abs(changes[:, still]) * 255)
    return scores


def average_views(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each score over the views that have it; NaN where none has.

    Args:
        scores: of each view, all by the same names.

    Raises:
        ValueError: `scores` is empty.
    """
    if not scores:
        raise ValueError("average_views: scores must hold at least one view, got none.")
    return {name: _mean([view[name] for view in scores]) for name in scores[0]}


def on_white(images: UInt8[np.ndarray, "T H W 4"]) -> Float[np.ndarray, "T H W 3"]:
    """Straight RGBA composited on white, in [0, 1]."""
    # In double precision: differences of exactly 24 levels are common, and rounding decides on which side they fall.
    pixels = images / 255.0
    alphas = pixels[..., 3:]
    return pixels[..., :3] * alphas + (1 - alphas)


def _silhouettes(images: UInt8[np.ndarray, "T H W 4"]) -> Bool[np.ndarray, "T H W"]:
    return images[..., 3] >= 128


def _moving_pixels(
    colors: Float[np.ndarray, "T H W 3"], silhouettes: Bool[np.ndarray, "T H W"]
) -> Bool[np.ndarray, "T H W"]:
    distances = np.abs(colors - np.median(colors, axis=0)).max(-1)
    return (distances > _MOVING_THRESHOLD) & silhouettes.any(0)


def _grow(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask dilated by a disc of `_MARGIN`: all shifts of it by a vector inside the disc, united."""
    height, width = mask.shape
    radius = max(1, round(_MARGIN * height))
    padded = np.pad(mask, radius)
    grown = np.zeros_like(mask)
    offsets = np.arange(-radius, radius + 1)
    for dy, dx in np.argwhere(np.hypot(offsets[:, None], offsets) <= radius):
        grown |= padded[dy : dy + height, dx : dx + width]
    return grown


def _decibels(errors: Float[np.ndarray, "..."]) -> float:
    return float(-10 * np.log10(max(errors.mean(), LEAST_MSE))) if errors.size else float("nan")


def _ssim(a: Float[np.ndarray, "H W 3"], b: Float[np.ndarray, "H W 3"]) -> float:
    first, second = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b))
    return float(ssim(first, second))


def _iou(a: Bool[np.ndarray, "H W"], b: Bool[np.ndarray, "H W"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _mean(values: Sequence[float] | Float[np.ndarray, "..."]) -> float:
    """Mean of the values that are there; NaN where none is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")
