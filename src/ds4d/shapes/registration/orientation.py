"""The orientation of a registered shape: its up axis, whether it is mirrored, and the direction of the input camera."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import rotation_to_y


@dataclass(frozen=True)
class Orientation:
    """Orientation of a shape in world space.

    The angles are those of the input camera in the axes of the shape, after `up_axis` is rotated to +y.

    Attributes:
        up_axis: axis of the shape that points up most in world space, "+x" to "-z".
        mirrored: whether the x axis of the shape is flipped before the rotation.
        azimuth_deg: azimuth of the input camera, degrees.
        elevation_deg: elevation of the input camera, degrees.
        roll_deg: roll of the input camera about its optical axis, degrees counter-clockwise.
    """

    up_axis: str
    mirrored: bool
    azimuth_deg: float
    elevation_deg: float
    roll_deg: float


def describe_orientation(linear: Float[Tensor, "3 3"], up: Float[Tensor, " 3"]) -> Orientation:
    """Describes the linear part of a similarity.

    Args:
        linear: map from the shape's axes to world axes; a scaled orthogonal matrix.
        up: up axis of world space; the input camera is at +z after it is rotated to +y.
    """
    upright = rotation_to_y(up) @ linear / torch.linalg.det(linear).abs().pow(1 / 3)
    mirrored = bool(torch.linalg.det(upright) < 0)
    if mirrored:
        upright = upright * upright.new_tensor([-1.0, 1.0, 1.0])
    axis = int(upright[1].abs().argmax())
    sign = float(upright[1, axis].sign())
    own_up = torch.zeros(3)
    own_up[axis] = sign
    rows = upright @ rotation_to_y(own_up).T  # the world's axes in the upright axes of the shape
    azimuth, elevation = math.atan2(rows[2, 0], rows[2, 2]), math.asin(float(rows[2, 1].clamp(-1, 1)))
    level = rows.new_tensor([math.cos(azimuth), 0.0, -math.sin(azimuth)])  # right of a camera without roll
    roll = math.atan2(-rows[1] @ level, rows[0] @ level)
    return Orientation("-+"[sign > 0] + "xyz"[axis], mirrored, *map(math.degrees, (azimuth, elevation, roll)))
