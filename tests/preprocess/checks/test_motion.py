import re

import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.preprocess.checks import motion

CHECKS = (motion.few_frames, motion.missing_frames, motion.repeated_frames, motion.scene_cut, motion.moving_camera)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("method", ["alpha", "color", "model"])
def test_good_videos_have_no_findings(context, rolling_disc, check, method: str) -> None:
    assert check(context(rolling_disc, method=method)) is None


def test_few_frames(context, rolling_disc) -> None:
    for count in (1, 5):
        found = motion.few_frames(context(rolling_disc[:count]))
        assert (found.name, found.severity) == ("few_frames", "warning")
    assert "5 frames" in found.what
    assert motion.few_frames(context(rolling_disc[:8])) is None


def test_missing_frames(context, rolling_disc) -> None:
    found = motion.missing_frames(context(rolling_disc, missing=3))
    assert (found.name, found.severity) == ("missing_frames", "warning")
    assert "3 frames" in found.what


def test_repeated_frames(context, rolling_disc, rng) -> None:
    found = motion.repeated_frames(context(rolling_disc[:1] * 9))
    assert (found.name, found.severity) == ("no_motion", "warning")
    doubled = [rolling_disc[time // 2] for time in range(12)]
    found = motion.repeated_frames(context(doubled))
    assert (found.name, found.severity) == ("repeated_frames", "warning")
    assert "6 of 12" in found.what
    assert motion.repeated_frames(context(rolling_disc[:1])) is None
    noisy = []
    for image in doubled:  # repeated frames that were compressed separately differ a little
        noise = rng.integers(0, 2, image.shape, dtype=np.uint8)
        noise[..., 3] = 0
        noisy.append(image + np.minimum(noise, 255 - image))
    assert motion.repeated_frames(context(noisy)) is not None


def test_scene_cut(context, disc, rolling_disc) -> None:
    other = [disc(50 - 3 * time, 24, 9, color=(30, 60, 190)) for time in range(6)]
    found = motion.scene_cut(context([*rolling_disc[:6], *other]))
    assert (found.name, found.severity) == ("scene_cut", "warning")
    assert "0.60 s" in found.what
    assert motion.scene_cut(context(rolling_disc[:2])) is None
    fading = [disc(30, 24, 9, color=(20 * time, 60, 220 - 20 * time)) for time in range(12)]
    assert motion.scene_cut(context(fading)) is None


def test_scene_cut_of_the_background(context, rolling_disc) -> None:
    video = []
    for time, image in enumerate(rolling_disc):
        background = np.full_like(image, 255)
        background[..., :3] = (30, 90, 30) if time < 7 else (90, 30, 90)
        foreground = premultiply(image)
        video.append(np.where(foreground[..., 3:] > 127, foreground, background))
    assert "0.70 s" in motion.scene_cut(context(rolling_disc, video=video, method="model")).what


@pytest.mark.parametrize(("step", "moves"), [(0, False), (3, True)])
def test_moving_camera(context, rolling_disc, rng, step: int, moves: bool) -> None:
    wide = rng.integers(0, 255, (12, 32, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    video = []
    for time, image in enumerate(rolling_disc):
        background = np.dstack((wide[:, step * time : step * time + 64], np.full((48, 64), 255, np.uint8)))
        video.append(np.where(image[..., 3:] > 127, image, background))
    found = motion.moving_camera(context(rolling_disc, video=video, method="model"))
    assert (found is not None) == moves
    assert found is None or (found.name, found.severity) == ("moving_camera", "warning")


def test_size_change(context, disc) -> None:
    found = motion.moving_camera(context([disc(32, 24, 6 + time) for time in range(12)]))
    assert (found.name, found.severity) == ("size_change", "warning")
    assert "2.8 times" in found.what or "2.9 times" in found.what
    slightly = [disc(32, 24, 12 + time % 3) for time in range(12)]
    assert motion.moving_camera(context(slightly)) is None


def test_large_motion_names_the_frame_rate_that_would_do(context, disc) -> None:
    def moving(step: int) -> list[np.ndarray]:
        return [disc(x, 26, 12, size=(200, 52)) for x in range(20, 161, step)]

    assert motion.large_motion(context(moving(4))) is None
    found = motion.large_motion(context(moving(20), source_fps=60.0))
    assert (found.name, found.severity) == ("large_motion", "warning")
    assert "7 of 8" in found.what
    needed = int(re.search(r"--fps (\d+)", found.fix)[1])
    assert 10 < needed <= 60
    assert motion.large_motion(context(moving(20 * 10 // needed))) is None
    too_slow = motion.large_motion(context(moving(20), source_fps=12.0))
    assert "--fps 12.0" in too_slow.fix and str(needed) in too_slow.fix
    all_used = motion.large_motion(context(moving(20)))
    assert "--fps" not in all_used.fix and str(needed) in all_used.fix
    assert motion.large_motion(context(moving(20)[:1])) is None
