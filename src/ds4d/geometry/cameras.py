"""Making cameras: orbits, intrinsics, axis conventions.

World: y up. Azimuth 0 looks from +z and positive azimuth moves the camera towards +x; elevation is positive when the
camera is above. Radians never leave a function.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Cameras


def opengl_to_opencv(camtoworlds: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """World-to-camera matrices (OpenCV axes) of camera-to-world matrices in OpenGL axes (Blender, D-NeRF, STAG4D).

    OpenGL cameras look along -z with y up; turning their y and z axes round gives OpenCV's.
    """
    flip = camtoworlds.new_tensor([1.0, -1.0, -1.0, 1.0])
    return torch.linalg.inv(camtoworlds.double() * flip.double()).to(camtoworlds.dtype)


def opencv_to_opengl(viewmats: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """The inverse of `opengl_to_opencv`."""
    flip = viewmats.new_tensor([1.0, -1.0, -1.0, 1.0])
    return torch.linalg.inv(viewmats.double()).to(viewmats.dtype) * flip


def look_at(eye: Float[Tensor, " 3"], target: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """World-to-camera matrix (OpenCV axes) of a camera at `eye` that looks at `target` with +y up."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    up = eye.new_tensor([0.0, 1.0, 0.0])
    if forward.cross(up, dim=0).norm() < 1e-6:  # straight up or down: any horizontal axis will do
        up = eye.new_tensor([0.0, 0.0, -1.0]) * forward[1].sign()
    right = torch.nn.functional.normalize(forward.cross(up, dim=0), dim=0)
    down = forward.cross(right, dim=0)
    rotation = torch.stack((right, down, forward))
    viewmat = torch.eye(4, dtype=eye.dtype, device=eye.device)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ eye
    return viewmat


def intrinsics(fovy_deg: float, width: int, height: int) -> Float[Tensor, "3 3"]:
    """Square pixels, principal point at the center of the image; `fovy_deg` is the full vertical angle."""
    if not 0 < fovy_deg < 180:
        raise ValueError(f"intrinsics: fovy_deg must lie between 0 and 180, got {fovy_deg}.")
    focal = 0.5 * height / math.tan(0.5 * math.radians(fovy_deg))
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def orbit_cameras(
    azimuths_deg: Sequence[float],
    elevations_deg: Sequence[float],
    *,
    fovy_deg: float,
    distance: float,
    width: int,
    height: int,
    target: Sequence[float] = (0.0, 0.0, 0.0),
) -> Cameras:
    """Cameras on a sphere round `target` that look at it: viewmats [V, 4, 4].

    Args:
        azimuths_deg: V angles, 0 from +z, growing towards +x.
        elevations_deg: V angles, positive from above.
        fovy_deg: full vertical field of view.
        distance: from the target, world units.
        width: pixels.
        height: pixels.
        target: world point in the center of the images.
    """
    center = torch.tensor(target, dtype=torch.float32)
    viewmats = []
    for azimuth_deg, elevation_deg in zip(azimuths_deg, elevations_deg, strict=True):
        azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
        direction = (
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        )
        viewmats.append(look_at(center + distance * torch.tensor(direction), center))
    Ks = intrinsics(fovy_deg, width, height).expand(len(viewmats), 3, 3)
    return Cameras(torch.stack(viewmats), Ks, width, height)
