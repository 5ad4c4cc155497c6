"""Inflation: each mask becomes a smooth closed shape, which is rendered from further views. Needs no weights.

Good near the input camera, untextured from behind.
"""

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_ranges, to_dict
from ds4d.io import resize_premultiplied
from ds4d.multiview.base import stag4d_cameras
from ds4d.multiview.depth_pairs import DepthPair
from ds4d.multiview.inflate.back_colors import fill_from_rim
from ds4d.multiview.inflate.thickness import union_of_balls
from ds4d.multiview.shape_views import render_shapes
from ds4d.types import Cameras, GeneratedViews, Video

_VERSION = 4  # changes when the same settings give other views or depths
_SURFACE_HEIGHT = 128  # pixels, at most, of the inflated frames
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
    uses_tracks = False

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

        def shape(times: range) -> tuple[DepthPair, Cameras]:
            return self.inflate_frames(video, times, cameras)

        return render_shapes(video, cameras, shape, self.device, work="inflating the frames")

    def inflate_frames(self, video: Video, times: range, cameras: Cameras) -> tuple[DepthPair, Cameras]:
        """The shapes of some frames, and the input camera for images of their size."""
        height = min(_SURFACE_HEIGHT, video.frames.height)
        width = max(1, round(height * video.frames.width / video.frames.height))
        camera = cameras[:1].resized(width, height)
        rgba = np.stack([resize_premultiplied(video.frames.read(time, 0), width, height) for time in times])
        return inflate(torch.from_numpy(rgba).movedim(-1, 1).float() / 255, camera, self.config), camera


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


def _towards_camera(inside: Tensor, facing_deg: float) -> Float[Tensor, "T H W"]:
    """Offset of the middle of the shape towards the camera, pixels: cot(facing) (x - median x)."""
    slope = 1 / math.tan(math.radians(facing_deg))
    columns = torch.arange(inside.shape[-1], dtype=torch.float32)
    medians = torch.stack([columns.expand_as(mask)[mask].median() if mask.any() else columns.mean() for mask in inside])
    return slope * (columns - medians[:, None, None]).expand(inside.shape)
