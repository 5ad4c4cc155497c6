"""Checks of the cut-out: is it there, is it whole, is it steady."""

import numpy as np
from jaxtyping import Bool

from ds4d.preprocess.checks.context import CheckContext
from ds4d.preprocess.findings import Finding, place_in_time
from ds4d.preprocess.matting.plain_background import find_plain_background
from ds4d.preprocess.objects import SOLID
from ds4d.preprocess.regions import bounding_box, shrink

_FULL = 0.95  # of the image
_JUMP = 0.25  # of the object's area, against the frames before and after
_SECOND = 0.02  # of the object's area: smaller things left out are not worth a word
_ALIKE = 0.01  # of the object's area
_COARSE = 0.5  # pixels of the video per framed pixel
_TRAVEL = 0.3  # of the square's side, the object's own size in the median frame


def empty(context: CheckContext) -> Finding | None:
    """Frames that show nothing."""
    nothing = context.coverage == 0
    if not nothing.any():
        return None
    strongest = max(int(image[..., 3].max()) for image in context.cut.images)
    if nothing.all() and 0 < strongest < SOLID:
        return Finding(
            "fatal",
            f"The cut-out is nowhere solid: its alpha reaches {strongest} of 255.",
            "Save the video with alpha 255 on the object, or have the alpha ignored with --matting color or model.",
        )
    if nothing.all():
        return Finding(
            "fatal",
            "Nothing is left once the background is cut out.",
            "Look at the video's alpha, or cut out another way with --matting color or model.",
        )
    return Finding(
        "fatal",
        f"The object is not to be seen {place_in_time(nothing, context.seconds)}.",
        "Leave those frames out with --start and --end.",
    )


def full(context: CheckContext) -> Finding | None:
    """Frames without any background."""
    whole = context.coverage > _FULL
    if not whole.any():
        return None
    return Finding(
        "fatal",
        f"The cut-out fills the whole image {place_in_time(whole, context.seconds)}.",
        "Leave those frames out with --start and --end, or cut out another way with --matting.",
    )


def inverted(context: CheckContext) -> Finding | None:
    """Alpha that is solid all along the image's edge and clear inside."""
    if context.cut.way != "alpha":
        return None
    alpha = context.small_cut[..., 3] / 255
    edge = np.concatenate([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], axis=1)
    if edge.mean() < 0.9 or alpha.min(axis=(1, 2)).mean() > 0.5:
        return None
    return Finding(
        "fatal",
        "The video's alpha is solid along the image's edge and clear inside: it seems to be inverted.",
        "Save it with alpha 255 on the object and 0 on the background.",
    )


def cut_by_border(context: CheckContext) -> Finding | None:
    """An object that reaches beyond the image."""
    sides = {
        "left": [mask[:, 0] for mask in context.masks],
        "right": [mask[:, -1] for mask in context.masks],
        "top": [mask[0] for mask in context.masks],
        "bottom": [mask[-1] for mask in context.masks],
    }
    touched = {name: np.array([np.count_nonzero(line) > 1 for line in lines]) for name, lines in sides.items()}
    names = [name for name, frames in touched.items() if frames.any()]
    if not names:
        return None
    frames: Bool[np.ndarray, " T"] = np.any(list(touched.values()), axis=0)
    return Finding(
        "warning",
        f"The object is cut by the image's border ({', '.join(names)}) {place_in_time(frames, context.seconds)}.",
        "What is outside is taken not to exist: leave those frames out with --start and --end, or video it whole.",
    )


def flicker(context: CheckContext) -> Finding | None:
    """Silhouettes that jump in size for one frame."""
    area = context.coverage
    jumps = np.zeros(len(area), bool)
    if len(area) > 2:
        before, after = area[:-2], area[2:]
        usual = (before + after) / 2
        calm = np.abs(before - after) < _JUMP / 2 * usual
        jumps[1:-1] = calm & (np.abs(area[1:-1] - usual) > _JUMP * usual)
    if not jumps.any():
        return None
    return Finding(
        "warning",
        f"The cut-out flickers: its size jumps for one frame {place_in_time(jumps, context.seconds)}.",
        "Cut out another way with --matting, or give a video with alpha.",
    )


def several_objects(context: CheckContext) -> Finding | None:
    """Things besides the object."""
    others = np.array(context.left_out)
    if not (others > _SECOND).any():
        return None
    return Finding(
        "warning",
        f"There is more than one object: others of up to {100 * others.max():.0f} % of the largest one's size were "
        f"left out {place_in_time(others > _SECOND, context.seconds)}.",
        "--keep all keeps everything.",
    )


def background_inside(context: CheckContext) -> Finding | None:
    """Regions of the object that look like the plain background it was told from."""
    if context.cut.way != "color" or (background := find_plain_background(context.video.images)) is None:
        return None
    pairs = zip(context.video.images, context.masks, strict=True)
    alike = [shrink(background.is_like(image, background.tolerance) & mask, 1).mean() for image, mask in pairs]
    share = np.array(alike) / np.maximum(context.coverage, 1e-6)
    if not (share > _ALIKE).any():
        return None
    return Finding(
        "warning",
        f"Up to {100 * share.max():.0f} % of the object look like the background "
        f"{place_in_time(share > _ALIKE, context.seconds)}, and are kept as its parts.",
        "If they are openings that the background is seen through, cut them out with --openings cut.",
    )


def small(context: CheckContext) -> Finding | None:
    """An object with few pixels: small in the video, or small in the square because it travels."""
    framing = context.framing
    if framing is None:
        return None
    sizes = [max(s.stop - s.start for s in bounding_box(mask)) for mask in context.masks if mask.any()]
    pixels = float(np.median(sizes)) * framing.video_width / context.masks[0].shape[1] if sizes else 0.0
    if framing.side < _COARSE * framing.size:
        return Finding(
            "warning",
            f"The object is small: {pixels:.0f} pixels of the video, enlarged {framing.size / framing.side:.1f} times.",
            "Give a video in which it is larger, or ask for less with --size.",
        )
    if pixels < _TRAVEL * framing.side:
        return Finding(
            "warning",
            f"The object travels far: the square round its way is {framing.side / max(pixels, 1):.1f} times as large "
            "as the object itself, so that little of the images shows it.",
            "Use a shorter part with --start and --end.",
        )
    return None
