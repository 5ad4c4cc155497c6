"""How near the views' cameras stand where the networks bring every object to one size (version 1.2)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ds4d.geometry import project_points
from ds4d.geometry.visual_hull import HullConfig, carve, voxel_centers
from ds4d.types import Cameras

_SIZE = 32  # pixels of the silhouettes that are compared
_VOXELS = 1.6  # along a pixel of the video: so many leave no gaps in the hull
_REACH, _TRIES = 1.4, 9  # factor to either side of the first guess, and places in between; then finer by as many
_ROUNDS = 2


def fit_nearness(alphas: Float[Tensor, "T V 1 H W"], cameras_at: Callable[[float], Cameras], guess: float) -> float:
    """The factor at which silhouettes agree best, summed over some frames; right to a few hundredths.

    Args:
        alphas: of some of the video's frames and of their views, in [0, 1].
        cameras_at: the cameras for a factor, for images of any size of that shape.
        guess: a factor not far from it.
    """
    silhouettes = adaptive_avg_pool2d(alphas.flatten(0, 2), _SIZE).unflatten(0, alphas.shape[:3])
    reach = _REACH
    for _ in range(_ROUNDS):
        factors = [guess * reach ** (2 * step / (_TRIES - 1) - 1) for step in range(_TRIES)]
        scores = [
            sum(silhouette_agreement(frame, cameras_at(factor).resized(_SIZE, _SIZE)) for frame in silhouettes)
            for factor in factors
        ]
        guess = factors[max(range(_TRIES), key=scores.__getitem__)]
        reach **= 2 / (_TRIES - 1)
    return guess


def silhouette_agreement(alphas: Float[Tensor, "V 1 H W"], cameras: Cameras) -> float:
    """The share of the silhouettes that the largest shape within all of them covers, mean over the views.

    1 where some shape has exactly these silhouettes; less where the cameras are wrong.

    Args:
        alphas: coverage in [0, 1]; a pixel belongs to the silhouette above 0.5.
        cameras: V views without a time axis; the first looks at the object's middle.
    """
    distance = cameras.viewmats[0, 2, 3]
    rotation, translation = cameras.viewmats[0, :3, :3], cameras.viewmats[0, :3, 3]
    target = rotation.T @ (distance * rotation.new_tensor([0.0, 0.0, 1.0]) - translation)
    half = distance / 2 * (cameras.width / cameras.Ks[0, 0, 0]).maximum(cameras.height / cameras.Ks[0, 1, 1])
    aabb = torch.stack((target - half, target + half))
    config = HullConfig(round(_VOXELS * max(cameras.width, cameras.height)), dilation=0.0, view_tolerance=0)
    hull = carve(alphas, cameras, aabb, config).flatten()
    pixels, _ = project_points(voxel_centers(aabb, config.resolution)[hull], cameras)
    columns, rows = pixels.floor().long().unbind(-1)
    seen = (columns >= 0) & (columns < cameras.width) & (rows >= 0) & (rows < cameras.height)
    places = torch.where(seen, rows * cameras.width + columns, cameras.height * cameras.width)  # the last one: nowhere
    covered = torch.zeros(len(alphas), cameras.height * cameras.width + 1).scatter_(1, places, 1.0)[:, :-1]
    silhouettes = (alphas > 0.5).flatten(1)
    return float(((covered * silhouettes).sum(1) / silhouettes.sum(1).clamp_min(1)).mean())
