"""Camera poses: round trips and targets."""

import numpy as np
import pytest
import torch

from ds4d.geometry import orbit_cameras
from ds4d.types import Cameras
from ds4d.viewer.camera_poses import CameraPose


@pytest.fixture
def cameras() -> Cameras:
    """Two cameras at two times; the second has moved."""
    parts = [
        orbit_cameras(azimuths, [10.0, -20.0], fovy_deg=40.0, distance=2.0, width=60, height=48)
        for azimuths in ([0.0, 130.0], [30.0, 200.0])
    ]
    viewmats, Ks = (torch.stack([getattr(part, name) for part in parts]) for name in ("viewmats", "Ks"))
    return Cameras(viewmats, Ks, 60, 48)


@pytest.mark.parametrize(("time", "view"), [(0, 0), (0, 1), (1, 1)])
def test_poses_round_trip(cameras: Cameras, time: int, view: int) -> None:
    pose = CameraPose.from_cameras(cameras, time, view)
    back = pose.to_cameras(48)
    assert (back.width, back.height) == (60, 48)
    torch.testing.assert_close(back.viewmats[0, 0], cameras.viewmats[time, view], atol=1e-5, rtol=0)
    torch.testing.assert_close(back.Ks[0, 0], cameras.Ks[time, view], atol=1e-3, rtol=0)
    assert pose.fovy_deg == pytest.approx(40.0, abs=1e-4) and pose.aspect == 60 / 48


def test_a_camera_of_the_rig_targets_the_origin(cameras: Cameras) -> None:
    pose = CameraPose.from_cameras(cameras, 0, 1)
    assert np.linalg.norm(pose.position) == pytest.approx(2.0, abs=1e-5)
    np.testing.assert_allclose(pose.forward, -pose.position / 2, atol=1e-5)
    np.testing.assert_allclose(pose.target, np.zeros(3), atol=1e-5)


def test_a_camera_facing_away_has_a_target_in_front_of_it() -> None:
    pose = CameraPose(np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 3]), 40.0, 1.0)  # at z = 3, looking along +z
    np.testing.assert_allclose(pose.target, [0, 0, 3.1])


@pytest.mark.parametrize(("aspect", "fovy"), [(2.0, 60.0), (1.5, 60.0), (0.75, 98.2132)])
def test_narrow_windows_show_the_whole_width(aspect: float, fovy: float) -> None:
    pose = CameraPose(np.array([1.0, 0, 0, 0]), np.zeros(3), 60.0, 1.5)
    assert pose.fovy_in(aspect) == pytest.approx(fovy, abs=1e-3)
