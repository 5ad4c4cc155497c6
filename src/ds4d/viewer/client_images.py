"""Images from the camera of a browser by our own renderer: depth maps (near is bright, far is dark) and colors."""

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8

from ds4d.types import Gaussians, Renderer
from ds4d.viewer.camera_poses import CameraPose

OBJECT_RADIUS = 0.5  # of the object's bounding sphere, normalized space
_MAX_HEIGHT, _MAX_WIDTH = 480, 1920  # pixels; the browser enlarges the image


def render_depth(
    gaussians: Gaussians, renderer: Renderer, pose: CameraPose, *, height: int, background: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The expected depth from a camera, in colors from the near to the far side of the object's bounding sphere.

    Args:
        gaussians: Gaussians at one time (leading axis 1).
        renderer: renderer for their device.
        pose: camera to render from.
        height: height of the browser's canvas, pixels; at most 480 are rendered, and at most 1920 in width.
        background: 8-bit color behind the object.
    """
    height = max(1, min(height, _MAX_HEIGHT, int(_MAX_WIDTH / pose.aspect)))
    cameras = pose.to_cameras(height).to(gaussians.means.device)
    with torch.no_grad():
        rendering = renderer.render(gaussians, cameras)
    center_depth = float(np.linalg.norm(pose.position))
    nearness = 0.5 + (center_depth - rendering.depths[0, 0, 0].cpu().numpy()) / (2 * OBJECT_RADIUS)
    return _composite(_colors(nearness), rendering.alphas[0, 0, 0].cpu().numpy(), background)


def render_image(
    gaussians: Gaussians, renderer: Renderer, pose: CameraPose, *, height: int, background: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The colors from a camera, over a background; the arguments are those of `render_depth`, of any height."""
    with torch.no_grad():
        rendering = renderer.render(gaussians, pose.to_cameras(height).to(gaussians.means.device))
    colors = rendering.colors[0, 0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()  # premultiplied
    behind = (1 - rendering.alphas[0, 0, 0].cpu().numpy().clip(0, 1))[..., None] * np.array(background, np.float32)
    return (255 * colors + behind).round().clip(0, 255).astype(np.uint8)


def _colors(nearness: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 3"]:
    return matplotlib.colormaps["viridis"](nearness.clip(0, 1))[..., :3]


def _composite(
    colors: Float[np.ndarray, "H W 3"], alphas: Float[np.ndarray, "H W"], background: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    alphas = alphas[..., None].clip(0, 1)
    return (255 * alphas * colors + (1 - alphas) * np.array(background)).round().astype(np.uint8)
