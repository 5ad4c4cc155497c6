"""Orientations of registered shapes."""

import pytest
import torch

from ds4d.geometry import orbit_cameras, rotation_to_y
from ds4d.shapes.registration.orientation import describe_orientation

Y, Z = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
AXES = {f"{sign}{name}": (axis, sign) for axis, name in enumerate("xyz") for sign in "+-"}


def view_rotation(azimuth: float, elevation: float) -> torch.Tensor:
    """The rotation after which a camera at +z sees an upright shape as this camera did before."""
    cameras = orbit_cameras([azimuth], [elevation], fovy_deg=40.0, distance=2.0, width=8, height=8)
    return torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ cameras.viewmats[0, :3, :3]  # OpenCV's axes to the world's


def roll_rotation(degrees: float) -> torch.Tensor:
    """Rotation of the image of a camera that rolls counter-clockwise."""
    angle = torch.deg2rad(torch.tensor(degrees))
    c, s = angle.cos(), angle.sin()
    return torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("azimuth", "elevation", "roll"), [(0.0, 0.0, 0.0), (30.0, 20.0, 0.0), (-140.0, -35.0, 12.0)])
def test_orientation_is_that_of_the_camera(
    axis: str, mirrored: bool, azimuth: float, elevation: float, roll: float
) -> None:
    row, sign = AXES[axis]
    own_up = torch.zeros(3)
    own_up[row] = float(f"{sign}1")
    mirror = torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0, 1.0]))
    linear = 2.5 * roll_rotation(roll) @ view_rotation(azimuth, elevation) @ rotation_to_y(own_up) @ mirror
    found = describe_orientation(linear, Y)
    assert (found.up_axis, found.mirrored) == (axis, mirrored)
    angles = (found.azimuth_deg, found.elevation_deg, found.roll_deg)
    assert angles == pytest.approx((azimuth, elevation, roll), abs=0.05)


def test_z_up_shape_in_z_up_world() -> None:
    found = describe_orientation(torch.eye(3), Z)
    assert (found.up_axis, found.mirrored) == ("+z", False)
    assert (found.azimuth_deg, found.elevation_deg, found.roll_deg) == pytest.approx((0, 0, 0), abs=1e-4)
