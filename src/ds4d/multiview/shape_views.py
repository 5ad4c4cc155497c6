"""Views of a shape that is made anew for each frame: rendered from around, and the points of its surface."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import large_array, large_tensor, release_pages, tracked
from ds4d.geometry import RIGS, project_points
from ds4d.multiview.base import join_views
from ds4d.multiview.cut_views import cut_frames
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, Gaussians, GeneratedViews, PointCloud, Video

_BATCH = 8  # frames
_KEPT_BATCHES = 8  # of which the shapes stay in memory
_VIEW_HEIGHT = 256  # pixels, at most
_CONFIDENCE_HEIGHT = 64  # pixels
_DEPTHS_HEIGHT = 128  # pixels
_MARGIN = 1.05  # between the object and the border of a view that was widened
_MAX_WIDENING = 2.0  # of a field of view: farther out there are strays
_WITHOUT_STRAYS = 0.9998  # of the points of a frame
_EMPTY_CONFIDENCE = 0.2  # of pixels that show no object

ArrayOfViews = UInt8[np.ndarray, "T V h w 4"]
ShapeOfFrames = Callable[[range], tuple[DepthPair, Cameras]]


def render_shapes(
    video: Video, cameras: Cameras, shape: ShapeOfFrames, device: torch.device, *, work: str
) -> GeneratedViews:
    """Views of the shapes of all frames. A view that its border would cut is made again with a wider field of view.

    Args:
        video: input video.
        cameras: camera of the video and of the views, without a time axis.
        shape: the shapes of some frames, and the camera of their depth maps.
        device: device to render on.
        work: what is being done, in a few words.

    Returns:
        The views, the surface points of the middle frame, and the depths of what the video shows.
    """
    shape = lru_cache(maxsize=_KEPT_BATCHES)(shape)  # short clips need no second pass of a network
    generated, extents = _render_all(video, cameras, shape, device, work)
    is_cut = cut_frames(generated.video).any(0)
    if not is_cut.any():
        return generated
    Ks = cameras.Ks.clone()
    Ks[is_cut, :2, :2] /= (_MARGIN * extents[is_cut]).clamp(1, _MAX_WIDENING)[:, None, None]
    return _render_all(video, replace(cameras, Ks=Ks), shape, device, f"{work} again, with wider views")[0]


def _render_all(
    video: Video, cameras: Cameras, shape: ShapeOfFrames, device: torch.device, work: str
) -> tuple[GeneratedViews, Float[Tensor, " V"]]:
    """The views with these cameras, and how far the shape extends in each: 1 if it just fits."""
    views: ArrayOfViews | None = None
    weights: Float[Tensor, "T V 1 h w"] | None = None
    points, depths = None, list[Float[Tensor, "T h w"]]()
    extents = torch.zeros(cameras.num_views)
    for first in tracked(range(0, video.num_times, _BATCH), work):
        times = range(first, min(first + _BATCH, video.num_times))
        pair, camera = shape(times)
        gaussians = surface_gaussians(pair, camera)
        extents = torch.maximum(extents, _extents(gaussians, cameras))
        rendered = render_views(gaussians, cameras, device)
        if views is None:
            views = large_array((video.num_times, *rendered.shape[1:]), np.uint8)
        views[first : times.stop] = rendered
        depths.append(render_depths(gaussians, cameras, device))
        confidence = render_confidence(pair, camera, cameras, device)
        if confidence is not None:
            if weights is None:
                weights = large_tensor((video.num_times, *confidence.shape[1:]), confidence.dtype)
            weights[first : times.stop] = confidence
        release_pages()
        if video.middle in times:
            index = video.middle - first
            points = surface_points(pair.at_times(slice(index, index + 1)), camera.at_time(index))
    names = [view.name for view in RIGS["stag4d"][1:]]
    assert views is not None  # a video has a frame at least
    joined = join_views(video, views, cameras, names)
    return GeneratedViews(replace(joined, pixel_weights=weights), points, torch.cat(depths)), extents


def _extents(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, " V"]:
    """How far the object extends from the middle of each view's image, 1 at the border; strays are left out."""
    largest = torch.zeros(cameras.num_views)
    center = torch.tensor([cameras.width / 2, cameras.height / 2])
    for time in range(len(gaussians.means)):
        visible = gaussians.opacities[time] > 0
        pixels, depths = project_points(gaussians.means[time, visible], cameras)
        radii = cameras.Ks[:, 0, 0, None] * gaussians.scales[time, visible].amax(-1) / depths
        reach = (((pixels - center).abs() + radii[..., None]) / center).amax(-1)
        if reach.shape[1]:
            last = max(0, math.ceil(_WITHOUT_STRAYS * reach.shape[1]) - 1)
            largest = torch.maximum(largest, reach.sort(dim=1).values[:, last])
    return largest


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


def render_depths(gaussians: Gaussians, cameras: Cameras, device: torch.device) -> Float[Tensor, "T h w"]:
    """Depth of the surface in the input view at each time, at a low resolution; 0 beside the object.

    Args:
        gaussians: the object at each time.
        cameras: camera of the video and of the views, without a time axis.
        device: device to render on.
    """
    small = cameras[:1].resized(max(1, round(_DEPTHS_HEIGHT * cameras.width / cameras.height)), _DEPTHS_HEIGHT)
    rendering = renderer_for(device).render(gaussians.to(device), small.expand_times(len(gaussians.means)).to(device))
    return torch.where(rendering.alphas > 0.5, rendering.depths, 0.0)[:, 0, 0].cpu()


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
