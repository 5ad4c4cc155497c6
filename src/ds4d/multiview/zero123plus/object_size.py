"""The scale of the object in views of version 1.2, which normalizes it: found by the agreement of masks."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ds4d.geometry import project_points
from ds4d.geometry.visual_hull import HullConfig, carve, voxel_centers
from ds4d.types import Cameras

_SIZE = 32  # of the compared masks, pixels
_VOXELS = 1.6  # per pixel: no gaps in the projected hull
_RANGE, _TRIES = 1.4, 9  # largest factor to either side of the guess, and number of candidates; then finer
_ROUNDS = 2


def fit_zoom(alphas: Float[Tensor, "T V 1 H W"], cameras_at: Callable[[float], Cameras], guess: float) -> float:
    """The zoom at which the masks agree best, summed over some frames; accurate to a few hundredths.

    Args:
        alphas: alphas of all views at some times, in [0, 1].
        cameras_at: the cameras for a zoom.
        guess: first guess, right within a factor of 1.4.
    """
    masks = adaptive_avg_pool2d(alphas.flatten(0, 2), _SIZE).unflatten(0, alphas.shape[:3])
    extent = _RANGE
    for _ in range(_ROUNDS):
        factors = [guess * extent ** (2 * step / (_TRIES - 1) - 1) for step in range(_TRIES)]
        scores = [
            sum(mask_agreement(frame, cameras_at(factor).resized(_SIZE, _SIZE)) for frame in masks)
            for factor in factors
        ]
        guess = factors[max(range(_TRIES), key=scores.__getitem__)]
        extent **= 2 / (_TRIES - 1)
    return guess


def mask_agreement(alphas: Float[Tensor, "V 1 H W"], cameras: Cameras) -> float:
    """The fraction of the masks that their visual hull covers, mean over the views.

    1 if some shape has exactly these masks; less if the cameras are wrong.

    Args:
        alphas: coverage in [0, 1]; pixels above 0.5 are in the mask.
        cameras: V views without a time axis; the first looks at the middle of the object.
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
    in_image = (columns >= 0) & (columns < cameras.width) & (rows >= 0) & (rows < cameras.height)
    index = torch.where(in_image, rows * cameras.width + columns, cameras.height * cameras.width)  # outside: the last
    covered = torch.zeros(len(alphas), cameras.height * cameras.width + 1).scatter_(1, index, 1.0)[:, :-1]
    masks = (alphas > 0.5).flatten(1)
    return float(((covered * masks).sum(1) / masks.sum(1).clamp_min(1)).mean())
