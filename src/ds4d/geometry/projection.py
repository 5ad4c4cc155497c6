"""From world points to pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Cameras


def project_points(
    points: Float[Tensor, "*T N 3"], cameras: Cameras
) -> tuple[Float[Tensor, "*T V N 2"], Float[Tensor, "*T V N"]]:
    """Pixel positions and depths (z in the camera) of world points in every view of their time.

    Points behind a camera have a depth below 0 and pixel positions without meaning. Without a time axis on `points`,
    cameras [V] give [V, N, ...].
    """
    rotations, translations = cameras.viewmats[..., :3, :3], cameras.viewmats[..., :3, 3]
    in_camera = torch.einsum("...vij,...nj->...vni", rotations, points) + translations[..., None, :]
    depths = in_camera[..., 2]
    safe = torch.where(depths.abs() < 1e-8, torch.full_like(depths, 1e-8), depths)
    homogeneous = torch.einsum("...vij,...vnj->...vni", cameras.Ks, in_camera / safe[..., None])
    return homogeneous[..., :2], depths
