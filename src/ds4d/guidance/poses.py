"""Where cameras stand round the object, seen as Zero123 sees them: directions, relative poses, a common footprint.

Zero123 was trained on objects in the middle of square images, from cameras without roll that look at the origin. It
is told how a camera moved: by how much its polar angle grew (so a *rise* in elevation counts negative), by how much it
went to its own right (our growing azimuth), and how much further away it stands.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FOVY_DEG = 49.1  # of Zero123's training images: a 35 mm lens before a 32 mm sensor


def angles_deg(directions: Float[Tensor, "*batch 3"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Azimuth and elevation of directions of any length, as `ds4d.geometry.orbit_cameras` takes them."""
    x, y, z = directions.unbind(-1)
    azimuths, elevations = torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z))
    return azimuths.rad2deg(), elevations.rad2deg()


def directions_of(
    azimuths_deg: Float[Tensor, "*batch"], elevations_deg: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    """The unit directions with these angles; the inverse of `angles_deg`."""
    azimuths, elevations = azimuths_deg.deg2rad(), elevations_deg.deg2rad()
    level = elevations.cos()
    return torch.stack((level * azimuths.sin(), elevations.sin(), level * azimuths.cos()), dim=-1)


def relative_poses(
    seen_from: Float[Tensor, "*batch 3"], drawn_from: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4"]:
    """What Zero123 is told of the way from the condition's camera to the drawn one (STAG4D's T).

    Args:
        seen_from: direction of the condition's camera from the object.
        drawn_from: direction of the camera whose image is judged.

    Returns:
        Growth of the polar angle in radians, sine and cosine of the growth of the azimuth, and growth of the distance:
        0, as all images are brought to one footprint.
    """
    azimuths, elevations = angles_deg(seen_from)
    new_azimuths, new_elevations = angles_deg(drawn_from)
    turn = (new_azimuths - azimuths).deg2rad()
    return torch.stack(
        ((elevations - new_elevations).deg2rad(), turn.sin(), turn.cos(), torch.zeros_like(turn)), dim=-1
    )


def footprint(viewmat: Float[Tensor, "4 4"], K: Float[Tensor, "3 3"], width: int, height: int) -> float:
    """Half the side of the square at the origin that an image's longer side spans, world units."""
    depth = float(viewmat[2, 3])
    return depth * max(width / float(K[0, 0]), height / float(K[1, 1])) / 2


def distance_for(footprint: float) -> float:
    """How far from the origin a camera with Zero123's field of view has this footprint."""
    return footprint / math.tan(math.radians(FOVY_DEG) / 2)


def square_image(
    rgba: Float[Tensor, "4 H W"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    *,
    footprint: float,
    size: int,
) -> Float[Tensor, "3 size size"]:
    """A camera's image as Zero123 wants it: square, on white, the origin in the middle, of the given footprint.

    Args:
        rgba: premultiplied, in [0, 1].
        viewmat: of its camera.
        K: of its camera.
        footprint: half side of the square at the origin that the result shows, world units.
        size: pixels.
    """
    height, width = rgba.shape[-2:]
    depth = float(viewmat[2, 3])
    sides = []
    for axis, length in ((0, width), (1, height)):
        middle = float(K[axis, axis] * viewmat[axis, 3] / depth + K[axis, 2])
        half = float(K[axis, axis]) * footprint / depth
        first, last = round(middle - half), round(middle + half)
        sides += [-first, max(last, first + 1) - length]  # what is added on both ends, below 0 where it is cut off
    square = F.pad(rgba, sides)[None]
    square = F.interpolate(square, (size, size), mode="bilinear", antialias=True)[0]
    return square[:3] + (1 - square[3:])
