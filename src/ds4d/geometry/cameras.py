"""Cameras: orbits, intrinsics, axis conventions, projection.

World: y up. At azimuth 0 the camera is on +z, positive azimuths move it towards +x; positive elevations are above the
target. Angles are in degrees.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Cameras


def opengl_to_opencv(camtoworlds: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """World-to-camera matrices in OpenCV axes from camera-to-world matrices in OpenGL axes (Blender, D-NeRF, STAG4D).

    OpenGL cameras look along -z with y up; flipping their y and z axes gives OpenCV's.
    """
    flip = camtoworlds.new_tensor([1.0, -1.0, -1.0, 1.0])
    return torch.linalg.inv(camtoworlds.double() * flip.double()).to(camtoworlds.dtype)


def opencv_to_opengl(viewmats: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Camera-to-world matrices in OpenGL axes from world-to-camera matrices in OpenCV axes."""
    flip = viewmats.new_tensor([1.0, -1.0, -1.0, 1.0])
    return torch.linalg.inv(viewmats.double()).to(viewmats.dtype) * flip


def look_at(eye: Float[Tensor, " 3"], target: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """World-to-camera matrix (OpenCV axes) of a camera at `eye` that looks at `target`, with +y up."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    up = eye.new_tensor([0.0, 1.0, 0.0])
    if forward.cross(up, dim=0).norm() < 1e-6:  # straight up or down: any horizontal axis is right
        up = eye.new_tensor([0.0, 0.0, -1.0]) * forward[1].sign()
    right = torch.nn.functional.normalize(forward.cross(up, dim=0), dim=0)
    down = forward.cross(right, dim=0)
    rotation = torch.stack((right, down, forward))
    viewmat = torch.eye(4, dtype=eye.dtype, device=eye.device)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ eye
    return viewmat


def intrinsics(fovy_deg: float, width: int, height: int) -> Float[Tensor, "3 3"]:
    """Intrinsics with square pixels and the principal point in the image center; the field of view is vertical."""
    if not 0 < fovy_deg < 180:
        raise ValueError(f"fovy_deg must lie between 0 and 180 degrees, got {fovy_deg}.")
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
    """Cameras on a sphere around `target` that look at it, without a time axis.

    Args:
        azimuths_deg: azimuth of each camera, degrees; 0 on +z, 90 on +x.
        elevations_deg: elevation of each camera, degrees; positive above the target.
        fovy_deg: vertical field of view, degrees.
        distance: distance from the target, world units.
        width: image width, pixels.
        height: image height, pixels.
        target: point in world space at the center of the images.
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


def project_points(
    points: Float[Tensor, "*T N 3"], cameras: Cameras
) -> tuple[Float[Tensor, "*T V N 2"], Float[Tensor, "*T V N"]]:
    """Pixel coordinates and depths (camera z) of points in every view of their time.

    Points behind a camera have negative depths and meaningless pixel coordinates. Points without a time axis need
    cameras without one.
    """
    columns, rows, depths = image_coordinates(points, cameras)
    return torch.stack((columns, rows), -1), depths


def image_coordinates(
    points: Float[Tensor, "*T N 3"], cameras: Cameras
) -> tuple[Float[Tensor, "*T V N"], Float[Tensor, "*T V N"], Float[Tensor, "*T V N"]]:
    """Columns, rows and depths of `project_points`."""
    rotations, translations = cameras.viewmats[..., :3, :3], cameras.viewmats[..., :3, 3]
    in_camera = _products(rotations, points[..., None, :, :].unbind(-1))
    x, y, depths = (part + shift[..., None] for part, shift in zip(in_camera, translations.unbind(-1), strict=True))
    safe = torch.where(depths.abs() < 1e-8, torch.full_like(depths, 1e-8), depths)
    columns, rows = _products(cameras.Ks[..., :2, :], (x / safe, y / safe, depths / safe))
    return columns, rows, depths


def _products(
    matrices: Float[Tensor, "... r 3"], vectors: Sequence[Float[Tensor, "... N"]]
) -> list[Float[Tensor, "... N"]]:
    """Rows of matrix times vector, whose parts are tensors of their own.

    On the CPU written out: the last bits of small products depend on the number of threads.
    """
    if matrices.is_cuda:
        return list((torch.stack(torch.broadcast_tensors(*vectors), -1) @ matrices.mT).unbind(-1))
    x, y, z = vectors
    return [row[..., 0, None] * x + row[..., 1, None] * y + row[..., 2, None] * z for row in matrices.unbind(-2)]
