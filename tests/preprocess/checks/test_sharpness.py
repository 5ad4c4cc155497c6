from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ds4d.preprocess import VideoConfig, inspect_video
from ds4d.preprocess.checks import sharpness


@pytest.mark.parametrize(("blur", "blurred"), [(0.0, False), (0.7, False), (1.0, False), (2.5, True), (4.0, True)])
def test_blurred_textures_are_found(context, textured, blur: float, blurred: bool) -> None:
    found = sharpness.blurred(context(textured(blur)))
    assert (found is not None) == blurred
    assert found is None or (found.name, found.severity) == ("blurred", "warning")


def test_plain_and_tiny_objects_have_no_measurable_sharpness(context, rolling_disc, disc) -> None:
    assert sharpness.blurred(context(rolling_disc)) is None
    assert sharpness.blurred(context([disc(20, 20, 4)])) is None


REAL = (
    *(f"videos/{name}.mp4" for name in ("dancing_robot_fg", "lifting1_fg", "otter-on-surfboard_fg", "sighing_frog_fg")),
    "trex",
    "minions",
)


@pytest.mark.parametrize("path", REAL)
def test_real_videos_have_no_findings_until_they_are_blurred(data_dir: Path, path: str) -> None:
    inspection = inspect_video(data_dir / path, VideoConfig(frames=10))
    assert inspection.is_usable
    # Below arms, where ten frames do not show how the holes open; and ten frames leave large steps.
    assert {finding.name for finding in inspection.findings} <= {"background_colored_parts", "large_motion"}
    mattes = inspection.context.mattes
    blurred = [np.array(Image.fromarray(p).filter(ImageFilter.GaussianBlur(2))) for p in mattes.images]
    assert sharpness.blurred(replace(inspection.context, mattes=mattes._replace(images=blurred))) is not None
