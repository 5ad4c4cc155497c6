"""Checks of changes from frame to frame: missing and repeated frames, scene cuts, the camera."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.preprocess.checks.base import FAR, CheckContext, Finding, describe_frames
from ds4d.preprocess.components import dilate
from ds4d.preprocess.stabilization import Stabilization

_MIN_FRAMES = 8
_STILL = 0.5  # levels of 255, mean over the object
_MAX_STILL = 0.2  # of the frames
_CUT = 0.6  # fraction of the colors that change
_OVER_MEDIAN = 4.0  # times the median change in the clip
_SHAKE = 8.0  # levels of 255, median over the background
_ZOOM = 1.8  # ratio of the largest to the smallest size


def missing_frames(context: CheckContext) -> Finding | None:
    """Finds files that hold fewer frames than they announce."""
    if context.video.missing == 0:
        return None
    return Finding(
        "missing_frames",
        "warning",
        f"The file is damaged or truncated: {context.video.missing} frames are missing, the others are used.",
        "Export or download it again.",
    )


def few_frames(context: CheckContext) -> Finding | None:
    """Finds clips that are too short to show motion."""
    count = len(context.seconds)
    if count >= _MIN_FRAMES:
        return None
    return Finding(
        "few_frames",
        "warning",
        "There is only one frame: the object will not move." if count == 1 else f"There are only {count} frames.",
        f"Use at least {_MIN_FRAMES} frames, better 24 to 32.",
    )


def repeated_frames(context: CheckContext) -> Finding | None:
    """Finds frames that repeat the previous one."""
    if len(context.seconds) < 2:
        return None
    images = context.matte_thumbnails
    changed = np.array([np.abs(step).sum() / 4 for step in _differences(images)])
    still = changed < _STILL * np.maximum(images[1:, ..., 3].sum(axis=(1, 2)) / 255, 1)
    if still.all():
        return Finding(
            "no_motion",
            "warning",
            "Nothing moves: all frames are nearly identical.",
            "Use a video in which the object moves.",
        )
    if still.mean() < _MAX_STILL:
        return None
    return Finding(
        "repeated_frames",
        "warning",
        f"Frames are repeated: nothing changes {describe_frames(np.append(False, still), context.seconds)}.",
        "Select fewer frames with --fps or --frames, or exclude the still part with --start and --end.",
    )


def scene_cut(context: CheckContext) -> Finding | None:
    """Finds the first abrupt change of the image."""
    if len(context.seconds) < 3:
        return None
    change = np.maximum(_color_changes(context.thumbnails), _color_changes(context.matte_thumbnails))
    found = (change > _CUT) & (change > _OVER_MEDIAN * np.median(change))
    if not found.any():
        return None
    first = context.seconds[1 + int(found.argmax())]
    return Finding(
        "scene_cut",
        "warning",
        f"There seems to be a scene cut: the colors of the image change abruptly at {first:.2f} s.",
        "Select one continuous scene with --start and --end.",
    )


def large_motion(context: CheckContext) -> Finding | None:
    """Finds steps between frames in which the outline of the object moves far, and the frame rate that would do."""
    if context.crop is None or len(context.seconds) < 2:
        return None
    moved = context.motion
    far = moved > FAR
    if not far.any():
        return None
    video, needed = context.video, math.ceil(context.video.fps * float(moved.max()) / FAR)
    length = context.seconds[-1] - context.seconds[0]
    if needed <= video.source_fps:
        fix = (
            f"Use --fps {needed}, which selects {int(length * needed) + 1} frames, or a shorter part of the video with "
        )
        fix += "--start and --end."
    elif video.fps < 0.99 * video.source_fps:
        fix = f"Use --fps {_floor(video.source_fps)}, all frames of the video. {needed} per second would be needed."
    else:
        fix = (
            f"All frames are used. Record at {needed} frames per second or more, or use a slower part with --start and "
        )
        fix += "--end."
    what = (
        f"The object moves far between frames: its outline by up to {100 * moved.max():.0f} % of the crop, "
        f"{describe_frames(np.append(False, far), context.seconds)}."
    )
    if context.is_followed:
        return Finding("large_motion", "note", f"{what} Optical flow tells the fit how.", "")
    return Finding("large_motion", "warning", f"{what} The fit may lose it there.", fix)


def not_followed(context: CheckContext) -> Finding | None:
    """Tells that the object cannot be followed although it was asked for."""
    if context.follow != "on" or context.may_follow or context.crop is None:
        return None
    return Finding(
        "not_followed",
        "warning",
        "The object cannot be followed by optical flow: that takes 2 to 200 frames with alpha or in front of a plain "
        "background, and a camera that stands still.",
        "Leave --follow out.",
    )


def _floor(fps: float) -> float:
    """A frame rate as an option, not above it."""
    return math.floor(100 * fps + 1e-6) / 100


def stabilized(context: CheckContext) -> Finding | None:
    """Tells that the frames of a moving camera were aligned, or why they were not although it was asked for."""
    found = context.stabilization
    if found is None:
        return None
    if found.matrices:
        return Finding(
            "stabilized",
            "note",
            f"The camera moves: the frames were aligned by their background, by up to {found.shift:.1f} pixels.",
            "To leave them as they are, add --stabilize off.",
        )
    if not (found.reason and context.must_stabilize):
        return None
    return Finding(
        "not_stabilized",
        "warning",
        f"The frames could not be aligned, and are left as they are: {_why_not_aligned(found, context)}.",
        "Leave --stabilize out, or use a part of the video with --start and --end.",
    )


def moving_camera(context: CheckContext) -> Finding | None:
    """Finds a moving background that frames were not aligned by, and an object whose size changes much."""
    if context.has_poses:
        return None
    found = context.stabilization
    is_known = found is not None and not found.reason  # it stands still, or does so now
    if context.mattes.method in ("model", "masks") and len(context.seconds) > 1 and not is_known:
        changes = np.stack([np.abs(step[..., :3]).mean(axis=-1) for step in _differences(context.thumbnails)])
        near = np.stack([dilate(alpha > 0, 2) for alpha in context.matte_thumbnails[..., 3]])
        background = ~(near[1:] | near[:-1])
        if background.any() and float(np.median(changes[background])) > _SHAKE:
            why = "" if found is None else f" Frames were not aligned: {_why_not_aligned(found, context)}."
            return Finding(
                "moving_camera",
                "warning",
                "The camera moves: the background changes from frame to frame.",
                f"The camera is assumed to be static.{why} Record from a tripod.",
            )
    lengths = np.sqrt(context.coverage[context.coverage > 0])
    if len(lengths) and lengths.max() > _ZOOM * lengths.min():
        return Finding(
            "size_change",
            "warning",
            f"The object appears {lengths.max() / lengths.min():.1f} times as large in one frame as in another: the "
            "camera zooms, or the object comes nearer, is occluded, or changes its shape.",
            "The camera is assumed to be static, at a constant distance to the object. Use a shorter part of the video "
            "with --start and --end.",
        )
    return None


def _why_not_aligned(found: Stabilization, context: CheckContext) -> str:
    """Its reason in words."""
    when = "" if found.time is None else f" at {context.seconds[found.time]:.2f} s"
    return {
        "background": "the background shows nothing to align them by",
        "texture": f"the background has too little texture{when}",
        "matches": f"too little of the background is found again{when}",
        "distance": f"the camera moves too far{when}",
    }[found.reason]


def _differences(images: UInt8[np.ndarray, "T h w 4"]) -> Iterator[Float[np.ndarray, "h w 4"]]:
    """Difference of each image from the previous one."""
    for previous, following in itertools.pairwise(images):
        yield following.astype(np.float32) - previous


def _color_changes(images: UInt8[np.ndarray, "T h w 4"]) -> Float[np.ndarray, " steps"]:
    """Fraction of the colors that differ from frame to frame, by alpha-weighted histograms of 4 x 4 x 4 bins."""
    histograms = []
    for image in images:
        weights = image[..., 3].reshape(-1).astype(np.float64)
        red, green, blue = (image[..., :3].reshape(-1, 3) // 64).astype(np.int64).T
        counts = np.bincount(16 * red + 4 * green + blue, weights=weights, minlength=64)
        histograms.append(counts / max(counts.sum(), 1.0))
    return np.abs(np.diff(np.array(histograms), axis=0)).sum(axis=1) / 2
