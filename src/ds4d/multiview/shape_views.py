"""Views of a shape that is made anew for each frame: rendered from around, and the points of its surface."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import large_array, large_tensor, release_pages, tracked
from ds4d.geometry import RIGS
from ds4d.multiview.base import join_views
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, Gaussians, GeneratedViews, PointCloud, Video

_BATCH = 8  # frames
_VIEW_HEIGHT = 256  # pixels, at most
_CONFIDENCE_HEIGHT = 64  # pixels
_EMPTY_CONFIDENCE = 0.2  # of pixels that show no object

ArrayOfViews = UInt8[np.ndarray, "T V h w 4"]
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
    views: ArrayOfViews | None = None
    weights: Float[Tensor, "T V 1 h w"] | None = None
    points = None
    for first in tracked(range(0, video.num_times, _BATCH), work):
        times = range(first, min(first + _BATCH, video.num_times))
        pair, camera = shape(times)
        rendered = render_views(surface_gaussians(pair, camera), cameras, device)
        if views is None:
            views = large_array((video.num_times, *rendered.shape[1:]), np.uint8)
        views[first : times.stop] = rendered
        confidence = render_confidence(pair, camera, cameras, device)
        if confidence is not None:
            if weights is None:
                weights = large_tensor((video.num_times, *confidence.shape[1:]), confidence.dtype)
            weights[first : times.stop] = confidence
        release_pages()
        if video.num_times // 2 in times:
            index = video.num_times // 2 - first
            points = surface_points(pair.at_times(slice(index, index + 1)), camera.at_time(index))
    names = [view.name for view in RIGS["stag4d"][1:]]
    assert views is not None  # a video has a frame at least
    joined = join_views(video, views, cameras, names)
    return GeneratedViews(replace(joined, pixel_weights=weights), points)


def render_confidence(
    pair: DepthPair, camera: Cameras, cameras: Cameras, device: torch.device
) -> Float[Tensor, "T V 1 h w"] | None:
    """How far each pixel of the input view (1) and of the generated views is to be trusted, in [0, 1].

    Args:
        pair: shapes with their confidences.
        camera: camera of their depth maps.
        cameras: camera of the video and of the views, without a time axis.
        device: device to render on.

    Returns:
        Maps of a low resolution; None if the pair has no confidences.
    """
    if pair.front_confidence is None or pair.back_confidence is None:
        return None
    front, back = (c[:, None].expand(-1, 3, -1, -1) for c in (pair.front_confidence, pair.back_confidence))
    gaussians = surface_gaussians(replace(pair, front_colors=front, back_colors=back), camera)
    small = cameras.resized(max(1, round(_CONFIDENCE_HEIGHT * cameras.width / cameras.height)), _CONFIDENCE_HEIGHT)
    generated = small[1:].expand_times(len(gaussians.means))
    rendering = renderer_for(device).render(gaussians.to(device), generated.to(device))
    maps = (rendering.colors[:, :, :1] + _EMPTY_CONFIDENCE * (1 - rendering.alphas)).clamp(0, 1).cpu()
    return torch.cat((torch.ones_like(maps[:, :1]), maps), dim=1)


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
