"""Input validation: each check takes the context of a video and returns a finding or None."""

from collections.abc import Callable

from ds4d.preprocess.checks import coding, masks, motion, sharpness
from ds4d.preprocess.checks.base import CheckContext as CheckContext
from ds4d.preprocess.checks.base import Finding as Finding
from ds4d.preprocess.checks.base import make_thumbnails as make_thumbnails

CHECKS: tuple[Callable[[CheckContext], Finding | None], ...] = (
    masks.missing_object,
    masks.no_background,
    masks.inverted_alpha,
    masks.cut_by_border,
    masks.several_objects,
    masks.mask_flicker,
    masks.background_colored_parts,
    masks.small_object,
    motion.missing_frames,
    motion.few_frames,
    motion.repeated_frames,
    motion.scene_cut,
    motion.large_motion,
    motion.not_followed,
    motion.stabilized,
    motion.moving_camera,
    sharpness.blurred,
    coding.hdr,
)
_ORDER = ("fatal", "warning", "note")


def run_checks(context: CheckContext) -> tuple[Finding, ...]:
    """All findings about a video, the most severe first."""
    found = [finding for check in CHECKS if (finding := check(context)) is not None]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))
