"""Scene normalization: world space to normalized space, and the bounding box of the object."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import (
    UP_AXES,
    HullConfig,
    VoxelPixels,
    camera_focus,
    carve,
    fit_into_ball,
    occupied_bounds,
    transform_cameras,
    transform_points,
)
from ds4d.init.masked_views import masked_views_at, masked_views_of_all_times
from ds4d.types import MultiViewVideo, Similarity

BALL_RADIUS = 0.5
_BOUNDS_RESOLUTION = 64  # voxels per axis; bounds need no more
_MARGIN = 0.05  # of the box, on each side


@dataclass(frozen=True)
class SceneNormalization:
    """The object in normalized space: inside a ball of radius 0.5 around the origin, y up.

    Attributes:
        video: the video with its cameras in normalized space.
        world: similarity from world space to normalized space.
        aabb: bounding box (min, max) of the object at all times, enlarged by 10 %; normalized units.
    """

    video: MultiViewVideo
    world: Similarity
    aabb: Float[Tensor, "2 3"]


def normalize_scene(
    video: MultiViewVideo, hull: HullConfig, *, max_times: int = 24, device: torch.device | None = None
) -> SceneNormalization:
    """Finds the object by the visual hulls of its masks, and the similarity that brings it into normalized space.

    Args:
        video: multi-view video with cameras in world space.
        hull: visual hull settings.
        max_times: maximum number of frames whose hulls are carved, evenly spaced.
        device: where they are carved; the CPU if None.

    Raises:
        ValueError: the hull of a frame is empty.
    """
    focus, radius = camera_focus(video.cameras)
    cube = torch.stack((focus - radius, focus + radius))
    coarse = replace(hull, resolution=min(_BOUNDS_RESOLUTION, hull.resolution))
    if video.is_monocular_sweep:
        images, cameras = masked_views_of_all_times(video)
        tolerant = replace(coarse, view_tolerance=max(2, cameras.num_views // 8))  # the object moves between images
        bounds = occupied_bounds(carve(images.alphas, cameras, cube, tolerant), cube)
    else:
        chosen = torch.linspace(0, video.num_times - 1, min(max_times, video.num_times)).round().long().unique()
        bounds = _union_of_hulls(video, chosen, cube.to(device or "cpu"), coarse)
    world = fit_into_ball(bounds, BALL_RADIUS, torch.tensor(UP_AXES[video.up]))
    corners = transform_points(world, torch.cartesian_prod(*bounds.T))
    box = torch.stack((corners.amin(0), corners.amax(0)))
    margin = _MARGIN * (box[1] - box[0])
    normalized = replace(video, cameras=transform_cameras(world, video.cameras))
    return SceneNormalization(normalized, world, torch.stack((box[0] - margin, box[1] + margin)))


def _union_of_hulls(video: MultiViewVideo, times: Tensor, cube: Tensor, config: HullConfig) -> Tensor:
    """Bounding box (min, max), on the CPU, of the hulls of some frames, carved on the device of the cube."""
    boxes, pixels = [], None
    for time in times.tolist():
        images, cameras, _ = masked_views_at(video, time)
        cameras = cameras.to(cube.device)
        if pixels is None or not pixels.cameras.equals(cameras):
            pixels = VoxelPixels(cameras, cube, config.resolution)
        boxes.append(occupied_bounds(carve(images.alphas.to(cube.device), cameras, cube, config, pixels), cube))
    stacked = torch.stack(boxes).cpu()
    return torch.stack((stacked[:, 0].amin(0), stacked[:, 1].amax(0)))
