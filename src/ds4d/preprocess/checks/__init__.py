"""Checks of a video before anything is made of it. Each takes the evidence and returns a finding or none."""

from collections.abc import Callable

from ds4d.preprocess.checks import masks, motion, sharpness
from ds4d.preprocess.checks.context import CheckContext as CheckContext
from ds4d.preprocess.findings import Finding

CHECKS: tuple[Callable[[CheckContext], Finding | None], ...] = (
    masks.empty,
    masks.full,
    masks.inverted,
    masks.cut_by_border,
    masks.several_objects,
    masks.flicker,
    masks.background_inside,
    masks.small,
    motion.lost_frames,
    motion.few_frames,
    motion.still_frames,
    motion.cuts,
    motion.moving_camera,
    sharpness.blurred,
)
_ORDER = ("fatal", "warning", "note")


def check_clip(context: CheckContext) -> tuple[Finding, ...]:
    """All findings about a video, the worst first."""
    found = [finding for check in CHECKS if (finding := check(context)) is not None]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))
