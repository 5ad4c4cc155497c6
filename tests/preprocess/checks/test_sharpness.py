from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ds4d.preprocess import VideoConfig, inspect_video
from ds4d.preprocess.checks import sharpness
from ds4d.preprocess.matting.mattes import Mattes


def textured(disc, rng, blur: float) -> list[np.ndarray]:
    """Discs with a texture of gray patches, blurred."""
    patches = rng.integers(0, 255, (20, 25, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    colors = np.asarray(Image.fromarray(patches).filter(ImageFilter.GaussianBlur(blur)))
    return [np.dstack((colors, disc(50, 40, 34, size=(100, 80))[..., 3])) for _ in range(3)]


@pytest.mark.parametrize(("blur", "blurred"), [(0.0, False), (0.7, False), (1.0, False), (2.5, True), (4.0, True)])
def test_blur_is_told_from_detail(context, disc, rng, blur: float, blurred: bool) -> None:
    found = sharpness.blurred(context(textured(disc, rng, blur)))
    assert (found is not None) == blurred
    assert found is None or (found.severity, "blurred" in found.what) == ("warning", True)


def test_plain_and_tiny_objects_tell_nothing(context, rolling_disc, disc) -> None:
    assert sharpness.blurred(context(rolling_disc)) is None
    assert sharpness.blurred(context([disc(20, 20, 4)])) is None


REAL = (
    *(f"videos/{name}.mp4" for name in ("dancing_robot_fg", "lifting1_fg", "otter-on-surfboard_fg", "sighing_frog_fg")),
    "trex",
    "minions",
)


@pytest.mark.parametrize("path", REAL)
def test_nothing_is_wrong_with_real_videos_until_they_are_blurred(data_dir: Path, path: str) -> None:
    inspection = inspect_video(data_dir / path, VideoConfig(frames=10))
    assert inspection.is_fit
    openings = [finding for finding in inspection.findings if "look like the background" in finding.what]
    assert list(inspection.findings) == openings  # under arms, where ten frames do not show how they open
    cut = inspection.context.cut
    blurred = [np.array(Image.fromarray(p).filter(ImageFilter.GaussianBlur(2))) for p in cut.images]
    found = sharpness.blurred(replace(inspection.context, cut=Mattes(blurred, cut.way)))
    assert found is not None
