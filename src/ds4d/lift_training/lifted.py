"""Predictions in the world of the training images: their shape, its camera, and cameras on other sides."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.lift_training.images import RandomCameras, camera_rotations, framed
from ds4d.multiview.depth_pairs import DepthPair
from ds4d.multiview.lift.network import Prediction
from ds4d.types import Cameras


def depth_pair(prediction: Prediction, inputs: Float[Tensor, "B 8 H W"], cameras: RandomCameras) -> DepthPair:
    """A prediction as depth maps in world units."""
    sides, distances = cameras.sides[:, None, None], cameras.distances[:, None, None]
    return DepthPair(
        front=distances + sides * prediction.front,
        back=distances + sides * prediction.back,
        inside=inputs[:, 3] > 0.5,
        front_colors=inputs[:, :3],
        back_colors=prediction.back_colors.clamp(0, 1),
    )


def camera_of(cameras: RandomCameras, size: int) -> Cameras:
    """The cameras as those of one moving view. The object's stretching is part of the object, not of the camera."""
    count = len(cameras.focals)
    viewmats = torch.eye(4, device=cameras.focals.device).repeat(count, 1, 1)
    viewmats[:, :3, :3], viewmats[:, 2, 3] = cameras.rotations, cameras.distances
    Ks = torch.zeros_like(viewmats[:, :3, :3])
    Ks[:, 0, 0] = Ks[:, 1, 1] = size * cameras.focals
    Ks[:, :2, 2] = size * (0.5 - cameras.centers * cameras.focals[:, None])
    Ks[:, 2, 2] = 1
    return Cameras(viewmats[:, None], Ks[:, None], size, size)


def turned(
    positions: Float[Tensor, "B S 3"], cameras: RandomCameras, azimuths_deg: Float[Tensor, " B"]
) -> RandomCameras:
    """Level cameras that look from these azimuths relative to the input's, degrees."""
    forward = cameras.rotations[:, 2]
    azimuths = torch.atan2(-forward[:, 0], -forward[:, 2]) + azimuths_deg.deg2rad()
    level = torch.zeros_like(azimuths)
    rotations = camera_rotations(azimuths, level, level)
    return framed(positions, rotations, cameras.distances, torch.full_like(azimuths, 0.85), cameras.stretches)
