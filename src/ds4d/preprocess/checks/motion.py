"""Checks of what changes from frame to frame: cuts, the camera, still frames."""

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.preprocess.checks.context import CheckContext
from ds4d.preprocess.findings import Finding, place_in_time
from ds4d.preprocess.regions import grow

_FEW = 8
_STILL = 0.5  # levels of 255, mean over the object
_OFTEN = 0.2  # of the frames
_CUT = 0.6  # share of the colors that change
_OVER_USUAL = 4.0  # times the clip's usual change
_SHAKE = 8.0  # levels of 255, median over the background
_ZOOM = 1.8  # between the largest and the smallest


def few_frames(context: CheckContext) -> Finding | None:
    """A clip that is too short to show motion."""
    count = len(context.seconds)
    if count >= _FEW:
        return None
    return Finding(
        "warning",
        "There is one frame: the object will stand still." if count == 1 else f"There are only {count} frames.",
        f"Give a video of at least {_FEW} frames, better 24 to 32.",
    )


def lost_frames(context: CheckContext) -> Finding | None:
    """A file that holds less than it promises."""
    if context.video.lost == 0:
        return None
    return Finding(
        "warning",
        f"The file is damaged or ends early: {context.video.lost} frames are missing, the rest is used.",
        "Export or download it again.",
    )


def still_frames(context: CheckContext) -> Finding | None:
    """Frames that repeat the one before."""
    if len(context.seconds) < 2:
        return None
    images = context.small_cut.astype(np.float32)
    changed = np.abs(np.diff(images, axis=0)).sum(axis=(1, 2, 3)) / 4
    still = changed < _STILL * np.maximum(images[1:, ..., 3].sum(axis=(1, 2)) / 255, 1)
    if still.all():
        return Finding("warning", "Nothing moves: all frames are alike.", "Give a video in which the object moves.")
    if still.mean() < _OFTEN:
        return None
    return Finding(
        "warning",
        f"Frames repeat: nothing changes {place_in_time(np.append(False, still), context.seconds)}.",
        "Take fewer with --fps or --frames, or leave the still part out with --start and --end.",
    )


def cuts(context: CheckContext) -> Finding | None:
    """Places where another shot begins."""
    if len(context.seconds) < 3:
        return None
    whole, object_ = _color_changes(context.small_video), _color_changes(context.small_cut)
    change = np.maximum(whole, object_)
    found = (change > _CUT) & (change > _OVER_USUAL * np.median(change))
    if not found.any():
        return None
    first = context.seconds[1 + int(found.argmax())]
    return Finding(
        "warning",
        f"There seems to be a cut: the image's colors change at once at {first:.2f} s.",
        "Use one shot, with --start and --end.",
    )


def moving_camera(context: CheckContext) -> Finding | None:
    """A background that moves, where there is one to be seen, and an object that grows or shrinks."""
    if context.cut.way == "model" and len(context.seconds) > 1:
        changes = np.abs(np.diff(context.small_video[..., :3].astype(np.float32), axis=0)).mean(axis=-1)
        near = np.stack([grow(alpha > 0, 2) for alpha in context.small_cut[..., 3]])
        behind = ~(near[1:] | near[:-1])
        if behind.any() and float(np.median(changes[behind])) > _SHAKE:
            return Finding(
                "warning",
                "The camera moves: the background changes from frame to frame.",
                "The object is taken to be recorded by a camera that stands still. Video it from a tripod.",
            )
    lengths = np.sqrt(context.coverage[context.coverage > 0])
    if len(lengths) and lengths.max() > _ZOOM * lengths.min():
        return Finding(
            "warning",
            f"The object appears {lengths.max() / lengths.min():.1f} times as large at one time as at another: the "
            "camera zooms, or the object comes nearer, is covered, or changes its shape much.",
            "The object is taken to keep its distance from a camera that stands still. Use a shorter part with --start "
            "and --end.",
        )
    return None


def _color_changes(images: UInt8[np.ndarray, "T h w 4"]) -> Float[np.ndarray, " steps"]:
    """Share of the colors that differ from frame to frame, by histograms of 4 x 4 x 4 bins, alpha as weight."""
    histograms = []
    for image in images:
        weights = image[..., 3].reshape(-1).astype(np.float64)
        red, green, blue = (image[..., :3].reshape(-1, 3) // 64).astype(np.int64).T
        counts = np.bincount(16 * red + 4 * green + blue, weights=weights, minlength=64)
        histograms.append(counts / max(counts.sum(), 1.0))
    return np.abs(np.diff(np.array(histograms), axis=0)).sum(axis=1) / 2
