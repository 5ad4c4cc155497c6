"""The messages of all findings; other tests assert on names, severities and numbers only."""

import numpy as np
import pytest

from ds4d.io.tone_mapping import VideoColor
from ds4d.preprocess.checks import CHECKS, coding, masks, motion, run_checks, sharpness

MESSAGES = {
    "faint_alpha": (
        "The object is nowhere opaque: its largest alpha is 85 of 255.",
        "Save the video with alpha 255 on the object, or ignore its alpha with --matting color or --matting model.",
    ),
    "no_foreground": (
        "No foreground was found in any frame.",
        "Check the video's alpha, or use another matting method with --matting color or --matting model.",
    ),
    "missing_object": (
        "The object is missing in 2 of 12 frames (0.00 s to 1.10 s).",
        "Exclude these frames with --start and --end.",
    ),
    "no_background": (
        "The mask covers the whole image in 1 of 12 frames (at 0.30 s).",
        "Exclude these frames with --start and --end, or use another matting method with --matting.",
    ),
    "inverted_alpha": (
        "The video's alpha seems to be inverted: it is opaque along the image border and transparent inside.",
        "Save the video with alpha 255 on the object and 0 on the background.",
    ),
    "cut_by_border": (
        "The image border (left, top) cuts off the object in 1 of 2 frames (at 0.10 s).",
        "Only what is visible is reconstructed. Exclude these frames with --start and --end, or record the whole "
        "object.",
    ),
    "mask_flicker": (
        "The mask flickers: its area jumps for one frame in 1 of 12 frames (at 0.50 s).",
        "Use another matting method with --matting, or a video with alpha.",
    ),
    "several_objects": (
        "There is more than one object: others, up to 34 % of the largest one's area, were removed in 2 of 3 frames "
        "(0.10 s to 0.20 s).",
        "Keep all of them with --keep all.",
    ),
    "background_colored_parts": (
        "Up to 15 % of the object's area has the color of the background and is kept in 1 of 1 frames (at 0.00 s).",
        "If the background is seen through these areas, remove them with --holes remove.",
    ),
    "small_object": (
        "The object is small: 18 pixels in the video, enlarged 8.5 times.",
        "Use a video in which it is larger, or reduce --size.",
    ),
    "small_in_crop": (
        "The object moves far: the crop around its path is 9.8 times as large as the object itself, so the object "
        "covers few of its pixels.",
        "Use a shorter part of the video with --start and --end.",
    ),
    "missing_frames": (
        "The file is damaged or truncated: 3 frames are missing, the others are used.",
        "Export or download it again.",
    ),
    "few_frames": ("There is only one frame: the object will not move.", "Use at least 8 frames, better 24 to 32."),
    "no_motion": ("Nothing moves: all frames are nearly identical.", "Use a video in which the object moves."),
    "repeated_frames": (
        "Frames are repeated: nothing changes in 6 of 12 frames (0.10 s to 1.10 s).",
        "Select fewer frames with --fps or --frames, or exclude the still part with --start and --end.",
    ),
    "scene_cut": (
        "There seems to be a scene cut: the colors of the image change abruptly at 0.60 s.",
        "Select one continuous scene with --start and --end.",
    ),
    "large_motion": (
        "The object moves far between frames: its outline by up to 11 % of the crop, in 6 of 7 frames (0.10 s to "
        "0.60 s). The fit may lose it there.",
        "Use --fps 14, which selects 9 frames, or a shorter part of the video with --start and --end.",
    ),
    "moving_camera": (
        "The camera moves: the background changes from frame to frame.",
        "The camera is assumed to be static. Record from a tripod.",
    ),
    "size_change": (
        "The object appears 2.9 times as large in one frame as in another: the camera zooms, or the object comes "
        "nearer, is occluded, or changes its shape.",
        "The camera is assumed to be static, at a constant distance to the object. Use a shorter part of the video "
        "with --start and --end.",
    ),
    "blurred": (
        "The object is blurred: there is no detail at the scale of one or two pixels.",
        "Use a sharper video, or reduce --size.",
    ),
    "hdr": (
        "The video is HDR (HLG, up to 1000 nits): its colors were converted to sRGB.",
        "Light above 203 nits is compressed. For colors of your own choice, export the video as SDR.",
    ),
}


@pytest.fixture
def found(context, rolling_disc, disc, inverted, textured, rng):
    """One finding of every name."""
    discs = rolling_disc
    empty, full = np.zeros_like(discs[0]), np.full_like(discs[0], 255)
    faint = [np.dstack((image[..., :3], image[..., 3] // 3)) for image in discs]
    flickering = [*discs[:5], disc(29, 26, 5), *discs[6:]]
    other = [disc(50 - 3 * time, 24, 9, color=(30, 60, 190)) for time in range(6)]
    noise = [np.dstack((rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), full[..., 3])) for _ in discs]
    return [
        masks.missing_object(context(faint)),
        masks.missing_object(context([empty] * 3)),
        masks.missing_object(context([empty, *discs[1:11], empty])),
        masks.no_background(context([*discs[:3], full, *discs[4:]])),
        masks.inverted_alpha(context([inverted(image) for image in discs], method="alpha")),
        masks.cut_by_border(context([discs[0], disc(3, 3, 9)])),
        masks.mask_flicker(context(flickering)),
        masks.several_objects(context(discs[:3], removed=[0.0, 0.34, 0.1])),
        masks.background_colored_parts(context([disc(30, 24, 16, spot=(255, 255, 255))])),
        masks.small_object(context(discs, size=512)),
        masks.small_object(context([disc(10 + 8 * time, 26, 6, size=(120, 48)) for time in range(12)])),
        motion.missing_frames(context(discs, missing=3)),
        motion.few_frames(context(discs[:1])),
        motion.repeated_frames(context(discs[:1] * 9)),
        motion.repeated_frames(context([discs[time // 2] for time in range(12)])),
        motion.scene_cut(context([*discs[:6], *other])),
        motion.large_motion(context([disc(x, 26, 12, size=(200, 52)) for x in range(20, 141, 20)], source_fps=30.0)),
        motion.moving_camera(context(discs, video=noise, method="model")),
        motion.moving_camera(context([disc(32, 24, 6 + time) for time in range(12)])),
        sharpness.blurred(context(textured(4.0))),
        coding.hdr(context(discs, color=VideoColor("hlg", 9, 1000.0))),
    ]


def test_messages(found) -> None:
    for finding in found:
        assert (finding.what, finding.fix) == MESSAGES[finding.name]
        assert str(finding) == f"{finding.what} {finding.fix}"
    assert {finding.name for finding in found} == set(MESSAGES)


def test_findings_are_sorted_by_severity(context, rolling_disc) -> None:
    """A short video without an object in one frame."""
    found = run_checks(context([*rolling_disc[:4], np.zeros_like(rolling_disc[0])]))
    assert [finding.severity for finding in found] == sorted(
        (f.severity for f in found), key=["fatal", "warning"].index
    )
    assert {finding.name for finding in found} >= {"missing_object", "few_frames"}


def test_all_checks_run() -> None:
    functions = {
        function
        for module in (coding, masks, motion, sharpness)
        for name, function in vars(module).items()
        if getattr(function, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert functions == set(CHECKS)
