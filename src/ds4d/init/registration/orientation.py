"""How a shape stands, in words: which axis points up, whether it is mirrored, and from where the front sees it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import rotation_to_y


@dataclass(frozen=True)
class Orientation:
    """How a shape was turned into a world.

    Attributes:
        up_axis: of the shape's own axes the one that now points up most, "+x" to "-z".
        mirrored: whether left became right: the shape's x axis was turned round before all else.
        azimuth_deg: of a camera that sees the shape in its own axes, `up_axis` made +y by the shortest rotation, as
            the world's front sees it now.
        elevation_deg: of that camera.
        roll_deg: of that camera about its optical axis, counter-clockwise; 0 stands upright.
    """

    up_axis: str
    mirrored: bool
    azimuth_deg: float
    elevation_deg: float
    roll_deg: float


def describe_orientation(linear: Float[Tensor, "3 3"], up: Float[Tensor, " 3"]) -> Orientation:
    """The turn in a similarity's linear part.

    Args:
        linear: from the shape's axes to the world's; orthogonal but for a factor.
        up: the world's up axis; the front is where +z comes to lie when it is made +y by the shortest rotation.
    """
    upright = rotation_to_y(up) @ linear / torch.linalg.det(linear).abs().pow(1 / 3)
    mirrored = bool(torch.linalg.det(upright) < 0)
    if mirrored:
        upright = upright * upright.new_tensor([-1.0, 1.0, 1.0])
    axis = int(upright[1].abs().argmax())
    sign = float(upright[1, axis].sign())
    own_up = torch.zeros(3)
    own_up[axis] = sign
    rows = upright @ rotation_to_y(own_up).T  # the world's x, y and z in the shape's upright axes
    azimuth, elevation = math.atan2(rows[2, 0], rows[2, 2]), math.asin(float(rows[2, 1].clamp(-1, 1)))
    level = rows.new_tensor([math.cos(azimuth), 0.0, -math.sin(azimuth)])  # to the right of a camera without roll
    roll = math.atan2(-rows[1] @ level, rows[0] @ level)
    return Orientation("-+"[sign > 0] + "xyz"[axis], mirrored, *map(math.degrees, (azimuth, elevation, roll)))
