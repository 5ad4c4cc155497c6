"""Checks of the mattes: present, complete, and steady."""

import numpy as np
from jaxtyping import Bool

from ds4d.preprocess.checks.base import CheckContext, Finding, describe_frames
from ds4d.preprocess.components import bounding_box, erode
from ds4d.preprocess.objects import OPAQUE

_FULL = 0.95  # of the image area
_JUMP = 0.25  # of the object's area, compared to the frames before and after
_MIN_REMOVED = 0.02  # of the object's area: smaller removed objects are not reported
_MIN_BACKGROUND_COLORED = 0.01  # of the object's area
_MIN_RESOLUTION = 0.5  # pixels of the video per pixel of the crop
_MIN_IN_CROP = 0.3  # size of the object in the median frame, of the crop's side


def missing_object(context: CheckContext) -> Finding | None:
    """Finds frames with an empty mask."""
    empty = context.coverage == 0
    if not empty.any():
        return None
    max_alpha = max(int(image[..., 3].max()) for image in context.mattes.images)
    if empty.all() and 0 < max_alpha < OPAQUE:
        return Finding(
            "faint_alpha",
            "fatal",
            f"The object is nowhere opaque: its largest alpha is {max_alpha} of 255.",
            "Save the video with alpha 255 on the object, or ignore its alpha with --matting color or --matting model.",
        )
    if empty.all():
        return Finding(
            "no_foreground",
            "fatal",
            "No foreground was found in any frame.",
            "Check the video's alpha, or use another matting method with --matting color or --matting model.",
        )
    return Finding(
        "missing_object",
        "fatal",
        f"The object is missing {describe_frames(empty, context.seconds)}.",
        "Exclude these frames with --start and --end.",
    )


def no_background(context: CheckContext) -> Finding | None:
    """Finds frames whose mask covers the whole image."""
    full = context.coverage > _FULL
    if not full.any():
        return None
    return Finding(
        "no_background",
        "fatal",
        f"The mask covers the whole image {describe_frames(full, context.seconds)}.",
        "Exclude these frames with --start and --end, or use another matting method with --matting.",
    )


def inverted_alpha(context: CheckContext) -> Finding | None:
    """Finds alpha that is opaque along the image border and transparent inside."""
    if context.mattes.method != "alpha":
        return None
    alpha = context.matte_thumbnails[..., 3] / 255
    border = np.concatenate([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], axis=1)
    if border.mean() < 0.9 or alpha.min(axis=(1, 2)).mean() > 0.5:
        return None
    return Finding(
        "inverted_alpha",
        "fatal",
        "The video's alpha seems to be inverted: it is opaque along the image border and transparent inside.",
        "Save the video with alpha 255 on the object and 0 on the background.",
    )


def cut_by_border(context: CheckContext) -> Finding | None:
    """Finds frames in which the object extends beyond the image."""
    touched = {
        name: np.array([np.count_nonzero(line >= OPAQUE) > 1 for line in lines])
        for name, lines in context.borders.items()
    }
    names = [name for name, frames in touched.items() if frames.any()]
    if not names:
        return None
    frames: Bool[np.ndarray, " T"] = np.any(list(touched.values()), axis=0)
    return Finding(
        "cut_by_border",
        "warning",
        f"The image border ({', '.join(names)}) cuts off the object {describe_frames(frames, context.seconds)}.",
        "Only what is visible is reconstructed. Exclude these frames with --start and --end, or record the whole "
        "object.",
    )


def mask_flicker(context: CheckContext) -> Finding | None:
    """Finds masks whose area jumps for one frame."""
    area = context.coverage
    jumps = np.zeros(len(area), bool)
    if len(area) > 2:
        before, after = area[:-2], area[2:]
        expected = (before + after) / 2
        steady = np.abs(before - after) < _JUMP / 2 * expected
        jumps[1:-1] = steady & (np.abs(area[1:-1] - expected) > _JUMP * expected)
    if not jumps.any():
        return None
    return Finding(
        "mask_flicker",
        "warning",
        f"The mask flickers: its area jumps for one frame {describe_frames(jumps, context.seconds)}.",
        "Use another matting method with --matting, or a video with alpha.",
    )


def several_objects(context: CheckContext) -> Finding | None:
    """Finds objects that were removed besides the largest one."""
    removed = np.array(context.removed)
    if not (removed > _MIN_REMOVED).any():
        return None
    return Finding(
        "several_objects",
        "warning",
        f"There is more than one object: others, up to {100 * removed.max():.0f} % of the largest one's area, were "
        f"removed {describe_frames(removed > _MIN_REMOVED, context.seconds)}.",
        "Keep all of them with --keep all.",
    )


def background_colored_parts(context: CheckContext) -> Finding | None:
    """Finds parts of the object that have the plain background's color and may be holes."""
    colored = context.mattes.background_colored
    if not colored:
        return None
    areas = [erode(pixels & mask, 1).mean() for pixels, mask in zip(colored, context.masks, strict=True)]
    fraction = np.array(areas) / np.maximum(context.coverage, 1e-6)
    found = fraction > _MIN_BACKGROUND_COLORED
    if not found.any():
        return None
    return Finding(
        "background_colored_parts",
        "warning",
        f"Up to {100 * fraction.max():.0f} % of the object's area has the color of the background and is kept "
        f"{describe_frames(found, context.seconds)}.",
        "If the background is seen through these areas, remove them with --holes remove.",
    )


def small_object(context: CheckContext) -> Finding | None:
    """Finds objects of few pixels: small in the video, or small in the crop because they move far."""
    crop = context.crop
    if crop is None:
        return None
    sizes = [max(s.stop - s.start for s in bounding_box(mask)) for mask in context.masks if mask.any()]
    pixels = float(np.median(sizes)) * crop.video_width / context.masks[0].shape[1] if sizes else 0.0
    if crop.side < _MIN_RESOLUTION * crop.size:
        return Finding(
            "small_object",
            "warning",
            f"The object is small: {pixels:.0f} pixels in the video, enlarged {crop.size / crop.side:.1f} times.",
            "Use a video in which it is larger, or reduce --size.",
        )
    if pixels < _MIN_IN_CROP * crop.side:
        return Finding(
            "small_in_crop",
            "warning",
            f"The object moves far: the crop around its path is {crop.side / max(pixels, 1):.1f} times as large as the "
            "object itself, so the object covers few of its pixels.",
            "Use a shorter part of the video with --start and --end.",
        )
    return None
