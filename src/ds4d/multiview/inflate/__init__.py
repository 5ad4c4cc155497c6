"""Inflation: each mask becomes a smooth closed shape, which is rendered from further views. Needs no weights.

Good near the input camera, untextured from behind.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.core import check_ranges, to_dict, tracked
from ds4d.geometry import RIGS
from ds4d.io import resize_premultiplied
from ds4d.multiview.base import join_views, stag4d_cameras
from ds4d.multiview.depth_pairs import DepthPair, surface_gaussians
from ds4d.multiview.inflate.back_colors import fill_from_rim
from ds4d.multiview.inflate.thickness import union_of_balls
from ds4d.rendering import renderer_for
from ds4d.types import Cameras, GeneratedViews, PointCloud, Video

_VERSION = 1  # changes when the same settings give other views
_BATCH = 8
_SURFACE_HEIGHT, _VIEW_HEIGHT = 128, 256  # pixels, at most: of the inflated frames, and of the rendered views
_RIM_BLUR = 3.0  # of the colors at the mask boundary before they fill the back, pixels of an image 256 high


@dataclass(frozen=True)
class InflateConfig:
    """Inflation of masks into 3D shapes.

    Attributes:
        facing: direction that the object faces, degrees around its vertical axis: 0 towards the camera, 90 to the right
            of the image, -90 to its left. 90 and -90, which are seen from the side, give no tilt and suit objects that
            face the camera, too.
        thickness: thickness of the shape relative to balls that fit into the mask.
    """

    facing: float = 90.0
    thickness: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, thickness="(0, inf)")
        if not 20 <= abs(self.facing) <= 160:
            raise ValueError(
                f"facing must be in [20, 160] or [-160, -20] degrees, got {self.facing}. "
                "Leave it out for an object that faces the camera or away from it."
            )


class Inflate:
    """Views by inflation of masks.

    Args:
        config: settings of the shape.
        device: compute device for rendering.
    """

    Config = InflateConfig
    uses_matting_model = False

    @staticmethod
    def is_usable(config: InflateConfig, device: torch.device) -> tuple[bool, str]:
        """Always: it needs no weights and little time."""
        return True, "no weights needed"

    def __init__(self, config: InflateConfig, device: torch.device) -> None:
        self.config, self.device = config, device

    @property
    def identity(self) -> str:
        """See `ViewGenerator`."""
        return json.dumps({"name": "inflate", "version": _VERSION, **to_dict(self.config)})

    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `ViewGenerator`; nothing here is random."""
        cameras = stag4d_cameras(video)
        views, points = [], None
        for first in tracked(range(0, video.num_times, _BATCH), "inflating the frames"):
            times = range(first, min(first + _BATCH, video.num_times))
            pair, camera = self.inflate_frames(video, times, cameras)
            views.extend(self._render(pair, camera, cameras))
            if video.num_times // 2 in times:
                points = surface_points(pair.at_time(video.num_times // 2 - first), camera)
        names = [view.name for view in RIGS["stag4d"][1:]]
        return GeneratedViews(join_views(video, np.stack(views), cameras, names), points)

    def inflate_frames(self, video: Video, times: range, cameras: Cameras) -> tuple[DepthPair, Cameras]:
        """The shapes of some frames, and the input camera for images of their size."""
        height = min(_SURFACE_HEIGHT, video.frames.height)
        width = max(1, round(height * video.frames.width / video.frames.height))
        camera = cameras[:1].resized(width, height)
        rgba = np.stack([resize_premultiplied(video.frames.read(time, 0), width, height) for time in times])
        return inflate(torch.from_numpy(rgba).movedim(-1, 1).float() / 255, camera, self.config), camera

    def _render(self, pair: DepthPair, camera: Cameras, cameras: Cameras) -> Iterator[UInt8[np.ndarray, "V h w 4"]]:
        """The generated views of each time, premultiplied."""
        height = min(_VIEW_HEIGHT, cameras.height)
        small = cameras.resized(max(1, round(height * cameras.width / cameras.height)), height)
        gaussians = surface_gaussians(pair, camera)
        generated = small[1:].expand_times(len(gaussians.means))
        rendering = renderer_for(self.device).render(gaussians.to(self.device), generated.to(self.device))
        colors = rendering.colors.clamp_max(rendering.alphas)
        rgba = (torch.cat((colors, rendering.alphas), dim=2) * 255).round().byte()
        yield from rgba.movedim(2, -1).contiguous().cpu().numpy()


def inflate(images: Float[Tensor, "T 4 H W"], camera: Cameras, config: InflateConfig) -> DepthPair:
    """Front and back depth maps of inflated masks, the middle of the object at the depth of the origin.

    Args:
        images: RGBA in [0, 1], colors premultiplied by alpha.
        camera: camera of the images.
        config: settings of the shape.
    """
    alphas = images[:, 3]
    inside = alphas > 0.5
    colors = (images[:, :3] / alphas[:, None].clamp_min(1e-6)).clamp(0, 1)
    distance = camera.viewmats[0, 2, 3]
    pixel = distance / camera.Ks[0, 1, 1]  # world units at the origin's depth
    half = config.thickness * pixel * union_of_balls(inside)
    middle = (distance - _towards_camera(inside, config.facing) * pixel).clamp_min(0.25 * distance)
    half = half.minimum(0.5 * middle)
    back = fill_from_rim(colors, inside, blur=_RIM_BLUR * images.shape[-2] / 256)
    return DepthPair(middle - half, middle + half, inside, colors, back)


def surface_points(pair: DepthPair, camera: Cameras) -> PointCloud:
    """Surface points of both sides of a pair with one time."""
    gaussians = surface_gaussians(pair, camera)
    colors = torch.cat([c[0].flatten(1).T[pair.inside[0].flatten()] for c in (pair.front_colors, pair.back_colors)])
    return PointCloud(gaussians.means[0], colors)


def _towards_camera(inside: Tensor, facing_deg: float) -> Float[Tensor, "T H W"]:
    """Offset of the middle of the shape towards the camera, pixels: cot(facing) (x - median x)."""
    slope = 1 / math.tan(math.radians(facing_deg))
    columns = torch.arange(inside.shape[-1], dtype=torch.float32)
    medians = torch.stack([columns.expand_as(mask)[mask].median() if mask.any() else columns.mean() for mask in inside])
    return slope * (columns - medians[:, None, None]).expand(inside.shape)
