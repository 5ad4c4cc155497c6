"""Camera poses and images in Zero123's conventions.

Zero123 was trained on square images of objects at their center, by cameras without roll that look at the origin. Its
pose input is the change from the condition's camera to the target camera: of the polar angle (which decreases with
rising elevation), of the azimuth, and of the distance.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FOVY_DEG = 49.1  # of Zero123's training images: a 35 mm lens on a 32 mm sensor


def angles_deg(directions: Float[Tensor, "*batch 3"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Azimuths and elevations of directions of any length, in degrees, as `ds4d.geometry.orbit_cameras` takes them."""
    x, y, z = directions.unbind(-1)
    azimuths, elevations = torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z))
    return azimuths.rad2deg(), elevations.rad2deg()


def directions_of(
    azimuths_deg: Float[Tensor, "*batch"], elevations_deg: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    """Unit directions with these azimuths and elevations, in degrees; the inverse of `angles_deg`."""
    azimuths, elevations = azimuths_deg.deg2rad(), elevations_deg.deg2rad()
    level = elevations.cos()
    return torch.stack((level * azimuths.sin(), elevations.sin(), level * azimuths.cos()), dim=-1)


def relative_poses(
    condition_directions: Float[Tensor, "*batch 3"], target_directions: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4"]:
    """Zero123's pose input: the change from the condition's camera to the target camera (STAG4D's T).

    Args:
        condition_directions: directions of the cameras of the conditions.
        target_directions: directions of the target cameras.

    Returns:
        Change of the polar angle in radians, sine and cosine of the change of the azimuth, and change of the distance,
        which is 0, as all images have the same footprint.
    """
    azimuths, elevations = angles_deg(condition_directions)
    target_azimuths, target_elevations = angles_deg(target_directions)
    change = (target_azimuths - azimuths).deg2rad()
    polar_change = (elevations - target_elevations).deg2rad()
    return torch.stack((polar_change, change.sin(), change.cos(), torch.zeros_like(change)), dim=-1)


def footprint(viewmat: Float[Tensor, "4 4"], K: Float[Tensor, "3 3"], width: int, height: int) -> float:
    """Half the length at the origin that the longer side of an image spans, world units."""
    depth = float(viewmat[2, 3])
    return depth * max(width / float(K[0, 0]), height / float(K[1, 1])) / 2


def distance_for(footprint: float) -> float:
    """The distance from the origin at which a camera with Zero123's field of view has this footprint."""
    return footprint / math.tan(math.radians(FOVY_DEG) / 2)


def square_image(
    rgba: Float[Tensor, "4 H W"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    *,
    footprint: float,
    size: int,
) -> Float[Tensor, "3 size size"]:
    """Crops, pads and resizes an image to a square on white, with the origin at its center.

    Args:
        rgba: premultiplied image in [0, 1].
        viewmat: world-to-camera matrix.
        K: intrinsics.
        footprint: half the length at the origin that the result spans, world units.
        size: height and width of the result, pixels.
    """
    height, width = rgba.shape[-2:]
    depth = float(viewmat[2, 3])
    sides = []
    for axis, length in ((0, width), (1, height)):
        middle = float(K[axis, axis] * viewmat[axis, 3] / depth + K[axis, 2])
        half = float(K[axis, axis]) * footprint / depth
        first, last = round(middle - half), round(middle + half)
        sides += [-first, max(last, first + 1) - length]  # padding at both ends, negative where the image is cropped
    square = F.pad(rgba, sides)[None]
    square = F.interpolate(square, (size, size), mode="bilinear", antialias=True)[0]
    return square[:3] + (1 - square[3:])
