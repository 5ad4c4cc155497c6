import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.preprocess.checks import motion

CHECKS = ("few_frames", "lost_frames", "still_frames", "cuts", "moving_camera")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("way", ["alpha", "color", "model"])
def test_nothing_is_found_in_a_good_video(context, rolling_disc, name: str, way: str) -> None:
    assert getattr(motion, name)(context(rolling_disc, way=way)) is None


def test_short_videos(context, rolling_disc) -> None:
    assert "one frame: the object will stand still" in motion.few_frames(context(rolling_disc[:1])).what
    found = motion.few_frames(context(rolling_disc[:5]))
    assert (found.severity, found.what) == ("warning", "There are only 5 frames.")
    assert motion.few_frames(context(rolling_disc[:8])) is None


def test_damaged_videos(context, rolling_disc) -> None:
    found = motion.lost_frames(context(rolling_disc, lost=3))
    assert (found.severity, "3 frames are missing" in found.what) == ("warning", True)


def test_still_videos(context, rolling_disc, rng) -> None:
    assert "Nothing moves" in motion.still_frames(context(rolling_disc[:1] * 9)).what
    halting = [rolling_disc[time // 2] for time in range(12)]
    assert "Frames repeat: nothing changes in 6 of 12 frames" in motion.still_frames(context(halting)).what
    assert motion.still_frames(context(rolling_disc[:1])) is None
    noisy = []
    for image in halting:  # compressed again and again, repeated frames differ a little
        noise = rng.integers(0, 2, image.shape, dtype=np.uint8)
        noise[..., 3] = 0
        noisy.append(image + np.minimum(noise, 255 - image))
    assert motion.still_frames(context(noisy)) is not None


def test_cuts(context, disc, rolling_disc) -> None:
    other = [disc(50 - 3 * time, 24, 9, color=(30, 60, 190)) for time in range(6)]
    found = motion.cuts(context([*rolling_disc[:6], *other]))
    assert found.severity == "warning"
    assert "change at once at 0.60 s" in found.what
    assert motion.cuts(context(rolling_disc[:2])) is None
    fading = [disc(30, 24, 9, color=(20 * time, 60, 220 - 20 * time)) for time in range(12)]
    assert motion.cuts(context(fading)) is None


def test_cuts_of_the_scenery(context, rolling_disc) -> None:
    video = []
    for time, image in enumerate(rolling_disc):
        behind = np.full_like(image, 255)
        behind[..., :3] = (30, 90, 30) if time < 7 else (90, 30, 90)
        solid = premultiply(image)
        video.append(np.where(solid[..., 3:] > 127, solid, behind))
    assert "at 0.70 s" in motion.cuts(context(rolling_disc, video=video, way="model")).what


@pytest.mark.parametrize(("step", "moves"), [(0, False), (3, True)])
def test_moving_cameras(context, rolling_disc, rng, step: int, moves: bool) -> None:
    wide = rng.integers(0, 255, (12, 32, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    video = []
    for time, image in enumerate(rolling_disc):
        behind = np.dstack((wide[:, step * time : step * time + 64], np.full((48, 64), 255, np.uint8)))
        video.append(np.where(image[..., 3:] > 127, image, behind))
    found = motion.moving_camera(context(rolling_disc, video=video, way="model"))
    assert (found is not None) == moves
    assert found is None or found.what.startswith("The camera moves")


def test_zooms(context, disc) -> None:
    found = motion.moving_camera(context([disc(32, 24, 6 + time) for time in range(12)]))
    assert "2.8 times as large at one time as at another" in found.what or "2.9 times" in found.what
    breathing = [disc(32, 24, 12 + time % 3) for time in range(12)]
    assert motion.moving_camera(context(breathing)) is None
