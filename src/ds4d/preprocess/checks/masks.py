"""Checks of the cut-out: is it there, is it whole, is it steady."""

import numpy as np
from jaxtyping import Bool

from ds4d.preprocess.checks.context import Evidence
from ds4d.preprocess.findings import Finding, place_in_time
from ds4d.preprocess.matting.plain_background import find_plain_background
from ds4d.preprocess.objects import SOLID
from ds4d.preprocess.regions import bounding_box, shrink

_FULL = 0.95  # of the picture
_JUMP = 0.25  # of the object's area, against the frames before and after
_SECOND = 0.02  # of the object's area: smaller things left out are not worth a word
_ALIKE = 0.01  # of the object's area
_COARSE = 0.5  # pixels of the film per framed pixel
_TRAVEL = 0.3  # of the square's side, the object's own size in the median frame


def empty(evidence: Evidence) -> Finding | None:
    """Frames that show nothing."""
    nothing = evidence.coverage == 0
    if not nothing.any():
        return None
    strongest = max(int(picture[..., 3].max()) for picture in evidence.cut.pictures)
    if nothing.all() and 0 < strongest < SOLID:
        return Finding(
            "fatal",
            f"The cut-out is nowhere solid: its alpha reaches {strongest} of 255.",
            "Save the film with alpha 255 on the object, or have the alpha ignored with --matting color or model.",
        )
    if nothing.all():
        return Finding(
            "fatal",
            "Nothing is left once the background is cut out.",
            "Look at the film's alpha, or cut out another way with --matting color or model.",
        )
    return Finding(
        "fatal",
        f"The object is not to be seen {place_in_time(nothing, evidence.seconds)}.",
        "Leave those frames out with --start and --end.",
    )


def full(evidence: Evidence) -> Finding | None:
    """Frames without any background."""
    whole = evidence.coverage > _FULL
    if not whole.any():
        return None
    return Finding(
        "fatal",
        f"The cut-out fills the whole picture {place_in_time(whole, evidence.seconds)}.",
        "Leave those frames out with --start and --end, or cut out another way with --matting.",
    )


def inverted(evidence: Evidence) -> Finding | None:
    """Alpha that is solid all along the picture's edge and clear inside."""
    if evidence.cut.way != "alpha":
        return None
    alpha = evidence.small_cut[..., 3] / 255
    edge = np.concatenate([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], axis=1)
    if edge.mean() < 0.9 or alpha.min(axis=(1, 2)).mean() > 0.5:
        return None
    return Finding(
        "fatal",
        "The film's alpha is solid along the picture's edge and clear inside: it seems to be inverted.",
        "Save it with alpha 255 on the object and 0 on the background.",
    )


def cut_by_border(evidence: Evidence) -> Finding | None:
    """An object that reaches beyond the picture."""
    sides = {
        "left": [mask[:, 0] for mask in evidence.masks],
        "right": [mask[:, -1] for mask in evidence.masks],
        "top": [mask[0] for mask in evidence.masks],
        "bottom": [mask[-1] for mask in evidence.masks],
    }
    touched = {name: np.array([np.count_nonzero(line) > 1 for line in lines]) for name, lines in sides.items()}
    names = [name for name, frames in touched.items() if frames.any()]
    if not names:
        return None
    frames: Bool[np.ndarray, " T"] = np.any(list(touched.values()), axis=0)
    return Finding(
        "warning",
        f"The object is cut by the picture's border ({', '.join(names)}) {place_in_time(frames, evidence.seconds)}.",
        "What is outside is taken not to exist: leave those frames out with --start and --end, or film it whole.",
    )


def flicker(evidence: Evidence) -> Finding | None:
    """Silhouettes that jump in size for one frame."""
    area = evidence.coverage
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
        f"The cut-out flickers: its size jumps for one frame {place_in_time(jumps, evidence.seconds)}.",
        "Cut out another way with --matting, or give a film with alpha.",
    )


def several_objects(evidence: Evidence) -> Finding | None:
    """Things besides the object."""
    others = np.array(evidence.left_out)
    if not (others > _SECOND).any():
        return None
    return Finding(
        "warning",
        f"There is more than one object: others of up to {100 * others.max():.0f} % of the largest one's size were "
        f"left out {place_in_time(others > _SECOND, evidence.seconds)}.",
        "--keep all keeps everything.",
    )


def background_inside(evidence: Evidence) -> Finding | None:
    """Regions of the object that look like the plain background it was told from."""
    if evidence.cut.way != "color" or (background := find_plain_background(evidence.film.pictures)) is None:
        return None
    pairs = zip(evidence.film.pictures, evidence.masks, strict=True)
    alike = [shrink(background.is_like(picture, background.tolerance) & mask, 1).mean() for picture, mask in pairs]
    share = np.array(alike) / np.maximum(evidence.coverage, 1e-6)
    if not (share > _ALIKE).any():
        return None
    return Finding(
        "warning",
        f"Up to {100 * share.max():.0f} % of the object look like the background "
        f"{place_in_time(share > _ALIKE, evidence.seconds)}, and are kept as its parts.",
        "If they are openings that the background is seen through, cut them out with --openings cut.",
    )


def small(evidence: Evidence) -> Finding | None:
    """An object with few pixels: small in the film, or small in the square because it travels."""
    framing = evidence.framing
    if framing is None:
        return None
    sizes = [max(s.stop - s.start for s in bounding_box(mask)) for mask in evidence.masks if mask.any()]
    pixels = float(np.median(sizes)) * framing.film_width / evidence.masks[0].shape[1] if sizes else 0.0
    if framing.side < _COARSE * framing.size:
        return Finding(
            "warning",
            f"The object is small: {pixels:.0f} pixels of the film, enlarged {framing.size / framing.side:.1f} times.",
            "Give a film in which it is larger, or ask for less with --size.",
        )
    if pixels < _TRAVEL * framing.side:
        return Finding(
            "warning",
            f"The object travels far: the square round its way is {framing.side / max(pixels, 1):.1f} times as large "
            "as the object itself, so that little of the pictures shows it.",
            "Use a shorter part with --start and --end.",
        )
    return None
