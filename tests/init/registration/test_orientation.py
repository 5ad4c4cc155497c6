"""Turns in words."""

import pytest
import torch

from ds4d.geometry import orbit_cameras, rotation_to_y
from ds4d.init.registration.orientation import describe_orientation

Y, Z = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
AXES = {f"{sign}{name}": (axis, sign) for axis, name in enumerate("xyz") for sign in "+-"}


def seen_from(azimuth: float, elevation: float) -> torch.Tensor:
    """The rotation after which the front (+z) sees an upright shape as this camera saw it before."""
    cameras = orbit_cameras([azimuth], [elevation], fovy_deg=40.0, distance=2.0, width=8, height=8)
    return torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ cameras.viewmats[0, :3, :3]  # OpenCV's axes to the world's


def rolled(degrees: float) -> torch.Tensor:
    """A camera's turn about its optical axis, counter-clockwise, as what it sees turns: clockwise."""
    angle = torch.deg2rad(torch.tensor(degrees))
    c, s = angle.cos(), angle.sin()
    return torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("azimuth", "elevation", "roll"), [(0.0, 0.0, 0.0), (30.0, 20.0, 0.0), (-140.0, -35.0, 12.0)])
def test_a_turn_is_told_by_the_camera_that_saw_the_same(
    axis: str, mirrored: bool, azimuth: float, elevation: float, roll: float
) -> None:
    row, sign = AXES[axis]
    own_up = torch.zeros(3)
    own_up[row] = float(f"{sign}1")
    mirror = torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0, 1.0]))
    linear = 2.5 * rolled(roll) @ seen_from(azimuth, elevation) @ rotation_to_y(own_up) @ mirror
    turn = describe_orientation(linear, Y)
    assert (turn.up_axis, turn.mirrored) == (axis, mirrored)
    found = (turn.azimuth_deg, turn.elevation_deg, turn.roll_deg)
    assert found == pytest.approx((azimuth, elevation, roll), abs=0.05)


def test_a_world_with_z_up_is_seen_from_its_own_front() -> None:
    """A shape that has z up itself stands in it as it is."""
    turn = describe_orientation(torch.eye(3), Z)
    assert (turn.up_axis, turn.mirrored) == ("+z", False)
    assert (turn.azimuth_deg, turn.elevation_deg, turn.roll_deg) == pytest.approx((0, 0, 0), abs=1e-4)
