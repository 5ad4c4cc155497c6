"""Depth as an image: near is bright, far is dark."""

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8

from ds4d.types import Gaussians, Renderer
from ds4d.viewer.camera_poses import CameraPose

OBJECT_RADIUS = 0.5  # of the ball that holds the object, inner world
_MOST_HEIGHT = 480  # pixels; the browser enlarges it


def draw_depth(
    gaussians: Gaussians, renderer: Renderer, pose: CameraPose, *, height: int, background: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The expected depth that a camera sees, from the near side of the object's ball to its far side.

    Args:
        gaussians: of one time (leading axis 1).
        renderer: the splatter for their device.
        pose: of the camera.
        height: of the place where it is shown, pixels.
        background: behind the object, 8 bit.
    """
    cameras = pose.camera(min(height, _MOST_HEIGHT)).to(gaussians.means.device)
    with torch.no_grad():
        drawn = renderer.render(gaussians, cameras)
    middle = float(np.linalg.norm(pose.position))
    nearness = 0.5 + (middle - drawn.depths[0, 0, 0].cpu().numpy()) / (2 * OBJECT_RADIUS)
    return _mix(_colors(nearness), drawn.alphas[0, 0, 0].cpu().numpy(), background)


def _colors(nearness: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 3"]:
    return matplotlib.colormaps["viridis"](nearness.clip(0, 1))[..., :3]


def _mix(
    colors: Float[np.ndarray, "H W 3"], alphas: Float[np.ndarray, "H W"], background: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    cover = alphas[..., None].clip(0, 1)
    return (255 * cover * colors + (1 - cover) * np.array(background)).round().astype(np.uint8)
