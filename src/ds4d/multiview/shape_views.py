"""Views of a shape that is made anew for each frame: rendered from around, and the points of its surface."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional as F

from ds4d.core import tracked
from ds4d.geometry import RIGS
from ds4d.multiview.base import join_views
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, Gaussians, GeneratedViews, PointCloud, Video

_BATCH = 8  # frames
_VIEW_HEIGHT = 256  # pixels, at most

ShapeOfFrames = Callable[[range], tuple[DepthPair, Cameras]]


def render_shapes(
    video: Video, cameras: Cameras, shape: ShapeOfFrames, device: torch.device, *, work: str
) -> GeneratedViews:
    """Views of the shapes of all frames.

    Args:
        video: input video.
        cameras: camera of the video and of the views, without a time axis.
        shape: the shapes of some frames, and the camera of their depth maps.
        device: device to render on.
        work: what is being done, in a few words.

    Returns:
        The views, and the surface points of the middle frame.
    """
    views, points = [], None
    for first in tracked(range(0, video.num_times, _BATCH), work):
        times = range(first, min(first + _BATCH, video.num_times))
        pair, camera = shape(times)
        views.append(render_views(surface_gaussians(pair, camera), cameras, device))
        if video.num_times // 2 in times:
            index = video.num_times // 2 - first
            points = surface_points(pair.at_times(slice(index, index + 1)), camera.at_time(index))
    names = [view.name for view in RIGS["stag4d"][1:]]
    return GeneratedViews(join_views(video, np.concatenate(views), cameras, names), points)


def surface_points(pair: DepthPair, camera: Cameras) -> PointCloud:
    """Surface points of both sides of a pair with one time."""
    gaussians = surface_gaussians(pair, camera)
    colors = torch.cat([c[0].flatten(1).T[pair.inside[0].flatten()] for c in (pair.front_colors, pair.back_colors)])
    return PointCloud(gaussians.means[0], colors)


def render_views(
    gaussians: Gaussians, cameras: Cameras, device: torch.device, *, finer: int = 1
) -> UInt8[np.ndarray, "T V h w 4"]:
    """The generated views of each time: RGBA, colors premultiplied by alpha.

    Args:
        gaussians: the object at each time.
        cameras: camera of the video and of the views, without a time axis.
        device: device to render on.
        finer: pixels rendered for the width of one: a renderer enlarges every Gaussian by half a pixel.
    """
    height = min(_VIEW_HEIGHT, cameras.height)
    width = max(1, round(height * cameras.width / cameras.height))
    small = cameras.resized(finer * width, finer * height)
    generated = small[1:].expand_times(len(gaussians.means))
    rendering = renderer_for(device).render(gaussians.to(device), generated.to(device))
    colors = rendering.colors.clamp_max(rendering.alphas)
    images = torch.cat((colors, rendering.alphas), dim=2)
    if finer > 1:
        images = F.avg_pool2d(images.flatten(0, 1), finer).unflatten(0, images.shape[:2])
    rgba = (images * 255).round().byte()
    return rgba.movedim(2, -1).contiguous().cpu().numpy()
