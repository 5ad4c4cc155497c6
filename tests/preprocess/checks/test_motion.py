import numpy as np
import pytest

from ds4d.io import premultiply
from ds4d.preprocess.checks import motion

CHECKS = ("few_frames", "lost_frames", "still_frames", "cuts", "moving_camera")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("way", ["alpha", "color", "model"])
def test_nothing_is_found_in_a_good_film(evidence, rolling_disc, name: str, way: str) -> None:
    assert getattr(motion, name)(evidence(rolling_disc, way=way)) is None


def test_short_films(evidence, rolling_disc) -> None:
    assert "one frame: the object will stand still" in motion.few_frames(evidence(rolling_disc[:1])).what
    found = motion.few_frames(evidence(rolling_disc[:5]))
    assert (found.severity, found.what) == ("warning", "There are only 5 frames.")
    assert motion.few_frames(evidence(rolling_disc[:8])) is None


def test_damaged_films(evidence, rolling_disc) -> None:
    found = motion.lost_frames(evidence(rolling_disc, lost=3))
    assert (found.severity, "3 frames are missing" in found.what) == ("warning", True)


def test_still_films(evidence, rolling_disc, rng) -> None:
    assert "Nothing moves" in motion.still_frames(evidence(rolling_disc[:1] * 9)).what
    halting = [rolling_disc[time // 2] for time in range(12)]
    assert "Frames repeat: nothing changes in 6 of 12 frames" in motion.still_frames(evidence(halting)).what
    assert motion.still_frames(evidence(rolling_disc[:1])) is None
    noisy = []
    for picture in halting:  # compressed again and again, repeated frames differ a little
        noise = rng.integers(0, 2, picture.shape, dtype=np.uint8)
        noise[..., 3] = 0
        noisy.append(picture + np.minimum(noise, 255 - picture))
    assert motion.still_frames(evidence(noisy)) is not None


def test_cuts(evidence, disc, rolling_disc) -> None:
    other = [disc(50 - 3 * time, 24, 9, color=(30, 60, 190)) for time in range(6)]
    found = motion.cuts(evidence([*rolling_disc[:6], *other]))
    assert found.severity == "warning"
    assert "change at once at 0.60 s" in found.what
    assert motion.cuts(evidence(rolling_disc[:2])) is None
    fading = [disc(30, 24, 9, color=(20 * time, 60, 220 - 20 * time)) for time in range(12)]
    assert motion.cuts(evidence(fading)) is None


def test_cuts_of_the_scenery(evidence, rolling_disc) -> None:
    film = []
    for time, picture in enumerate(rolling_disc):
        behind = np.full_like(picture, 255)
        behind[..., :3] = (30, 90, 30) if time < 7 else (90, 30, 90)
        solid = premultiply(picture)
        film.append(np.where(solid[..., 3:] > 127, solid, behind))
    assert "at 0.70 s" in motion.cuts(evidence(rolling_disc, film=film, way="model")).what


@pytest.mark.parametrize(("step", "moves"), [(0, False), (3, True)])
def test_moving_cameras(evidence, rolling_disc, rng, step: int, moves: bool) -> None:
    wide = rng.integers(0, 255, (12, 32, 1), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    film = []
    for time, picture in enumerate(rolling_disc):
        behind = np.dstack((wide[:, step * time : step * time + 64], np.full((48, 64), 255, np.uint8)))
        film.append(np.where(picture[..., 3:] > 127, picture, behind))
    found = motion.moving_camera(evidence(rolling_disc, film=film, way="model"))
    assert (found is not None) == moves
    assert found is None or found.what.startswith("The camera moves")


def test_zooms(evidence, disc) -> None:
    found = motion.moving_camera(evidence([disc(32, 24, 6 + time) for time in range(12)]))
    assert "2.8 times as large at one time as at another" in found.what or "2.9 times" in found.what
    breathing = [disc(32, 24, 12 + time % 3) for time in range(12)]
    assert motion.moving_camera(evidence(breathing)) is None
