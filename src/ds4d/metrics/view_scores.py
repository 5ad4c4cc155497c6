"""Scores of a rendered view against the true one: color, silhouette and motion.

Everything is measured on 8-bit images composited on white, as files hold them. A white background is easy to reproduce,
so color is also scored on the object alone and on its moving parts.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ds4d.metrics.lpips import Lpips
from ds4d.metrics.ssim import ssim

METRICS = ("psnr", "psnr_object", "psnr_dynamic", "ssim", "iou", "motion_error", "still_flicker")

_MIN_MSE = 1e-6  # at most 60 dB per image, so that one perfect frame does not dominate the mean
_MOVING_THRESHOLD = 24 / 255  # of color; below it are shading noise and compression
_MARGIN = 4 / 256  # dilation of the object's region, as a fraction of the image height
_BLOCK_BYTES = 2**24  # of float64 colors held at once while the median over time is taken


def psnr(images: Float[Tensor, "*batch 3 H W"], targets: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio per image in dB, at most 60: -10 log10 of the mean squared error.

    Args:
        images: colors in [0, 1].
        targets: colors in [0, 1].
    """
    error = (images - targets).square().mean(dim=(-3, -2, -1))
    return -10 * torch.log10(error.clamp_min(_MIN_MSE))


def score_view(
    truth: UInt8[np.ndarray, "T H W 4"], rendered: Iterable[UInt8[np.ndarray, "_ _ 4"]], *, lpips: Lpips | None = None
) -> dict[str, float]:
    """Scores of one view's frames in temporal order; means over the frames.

    Rendered images are taken one at a time, so an iterator of them need not hold the video.

    Args:
        truth: true images, straight alpha.
        rendered: rendered image of each frame, straight alpha, of the same size.
        lpips: network to score with in addition, on the device that it runs on.

    Returns:
        `psnr`: dB over the whole image, at most 60 per image.
        `psnr_object`: dB inside the true silhouette dilated by 4 px per 256 px of height.
        `psnr_dynamic`: dB on the pixels that move in the truth: inside the silhouette of some frame, and further than
            24/255 in any channel from the pixel's median over time.
        `ssim`: 11 x 11 Gaussian window, sigma 1.5, mean over RGB.
        `iou`: intersection over union of the silhouettes (alpha above one half).
        `motion_error`: mean absolute difference between rendered and true frame-to-frame changes, in 1/255.
        `still_flicker`: mean absolute frame-to-frame change of the rendered colors on the part of the object that never
            moves, in 1/255.
        `lpips`: LPIPS, if its network is given.
        A score without pixels or frames to measure is NaN.

    Raises:
        ValueError: there are no frames, the two differ in size or number, or images are too small for LPIPS.
    """
    moving = _moving_pixels(truth)
    still = (truth[..., 3] >= 128).all(0) & ~moving.any(0)
    values: dict[str, list[float]] = {name: [] for name in (*METRICS, *(["lpips"] if lpips else []))}
    previous = None
    for i, image in enumerate(rendered):
        if i >= len(truth) or image.shape != truth.shape[1:]:
            raise ValueError(_mismatch(truth, f"frame {i} of shape {list(image.shape)}"))
        pair = _on_white(image), _on_white(truth[i])
        silhouette, true_silhouette = image[..., 3] >= 128, truth[i, ..., 3] >= 128
        errors = np.square(pair[0] - pair[1]).mean(-1)
        values["psnr"].append(_decibels(errors))
        values["psnr_object"].append(_decibels(errors[_dilate(true_silhouette)]))
        values["psnr_dynamic"].append(_decibels(errors[moving[i]]))
        values["ssim"].append(float(ssim(*map(_to_tensor, pair))))
        values["iou"].append(_iou(silhouette, true_silhouette))
        if lpips is not None:
            values["lpips"].append(float(lpips(*(_to_tensor(colors).to(lpips.mean) for colors in pair))))
        if previous is not None:
            change, true_change = (now - before for now, before in zip(pair, previous, strict=True))
            values["motion_error"].append(255 * _mean(np.abs(true_change - change)))
            values["still_flicker"].append(255 * _mean(np.abs(change[still])))
        previous = pair
    if not len(truth) or len(values["psnr"]) < len(truth):
        raise ValueError(_mismatch(truth, f"{len(values['psnr'])} frames"))
    return {name: _mean(found) for name, found in values.items()}


def average_views(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each score over the views that have it; NaN if none has.

    Args:
        scores: scores of each view, all with the same names.

    Raises:
        ValueError: `scores` is empty.
    """
    if not scores:
        raise ValueError("average_views: scores must hold at least one view, got none.")
    return {name: _mean([view[name] for view in scores]) for name in scores[0]}


def _mismatch(truth: UInt8[np.ndarray, "T H W 4"], found: str) -> str:
    return (
        f"score_view: rendered must have the shape of truth {list(truth.shape)} with at least one frame, got {found}. "
        "Render the true view's cameras and times at its size."
    )


def _on_white(images: UInt8[np.ndarray, "*T H W 4"]) -> Float[np.ndarray, "*T H W 3"]:
    """Straight RGBA composited on white, in [0, 1]."""
    # In double precision: differences of exactly 24 levels are common, and rounding decides which side they fall on.
    pixels = images / 255.0
    alphas = pixels[..., 3:]
    return pixels[..., :3] * alphas + (1 - alphas)


def _to_tensor(colors: Float[np.ndarray, "H W 3"]) -> Float[Tensor, "1 3 H W"]:
    return torch.from_numpy(colors).permute(2, 0, 1)[None]


def _moving_pixels(truth: UInt8[np.ndarray, "T H W 4"]) -> Bool[np.ndarray, "T H W"]:
    """Pixels inside the silhouette of some frame whose color is far from their median over time."""
    frames, height, width, _ = truth.shape
    moving = np.empty((frames, height, width), dtype=bool)
    step = max(1, _BLOCK_BYTES // (24 * max(1, frames * width)))  # the median needs all frames, so rows take turns
    for top in range(0, height, step):
        rows = slice(top, top + step)
        colors = _on_white(truth[:, rows])
        distances = np.abs(colors - np.median(colors, axis=0)).max(-1)
        moving[:, rows] = (distances > _MOVING_THRESHOLD) & (truth[:, rows, :, 3] >= 128).any(0)
    return moving


def _dilate(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask dilated by a disc of `_MARGIN`; several times faster than scipy's dilation and distance transform."""
    height, width = mask.shape
    radius = max(1, round(_MARGIN * height))
    padded = np.pad(mask, radius)
    dilated = np.zeros_like(mask)
    offsets = np.arange(-radius, radius + 1)
    for dy, dx in np.argwhere(np.hypot(offsets[:, None], offsets) <= radius):
        dilated |= padded[dy : dy + height, dx : dx + width]
    return dilated


def _decibels(errors: Float[np.ndarray, "..."]) -> float:
    return float(-10 * np.log10(max(errors.mean(), _MIN_MSE))) if errors.size else float("nan")


def _iou(a: Bool[np.ndarray, "H W"], b: Bool[np.ndarray, "H W"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _mean(values: Sequence[float] | Float[np.ndarray, "..."]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")
