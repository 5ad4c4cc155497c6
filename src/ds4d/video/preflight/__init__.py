"""Checks of a film before anything is made of it. Each takes the evidence and returns a finding or none."""

from collections.abc import Callable

from ds4d.video.findings import Finding
from ds4d.video.preflight import motion, sharpness, silhouettes
from ds4d.video.preflight.evidence import Evidence as Evidence

CHECKS: tuple[Callable[[Evidence], Finding | None], ...] = (
    silhouettes.empty,
    silhouettes.full,
    silhouettes.inverted,
    silhouettes.cut_by_border,
    silhouettes.several_objects,
    silhouettes.flicker,
    silhouettes.background_inside,
    silhouettes.small,
    motion.lost_frames,
    motion.few_frames,
    motion.still_frames,
    motion.cuts,
    motion.moving_camera,
    sharpness.blurred,
)
_ORDER = ("fatal", "warning", "note")


def check_clip(evidence: Evidence) -> tuple[Finding, ...]:
    """All findings about a film, the worst first."""
    found = [finding for check in CHECKS if (finding := check(evidence)) is not None]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))
