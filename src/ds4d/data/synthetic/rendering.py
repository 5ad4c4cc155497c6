"""Ground-truth images of the synthetic creature from any camera at any time."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ds4d.core import tracked
from ds4d.data.synthetic.anatomy import Part, pose_parts
from ds4d.data.synthetic.creature import JOINTS, PARTS
from ds4d.data.synthetic.ray_tracing import NOTHING, Hits, Pinhole, trace
from ds4d.data.synthetic.shading import shade
from ds4d.types import Cameras

Shapes = Float[np.ndarray, "P 4 4"]

_MOVES = np.array([part.joint is not None for part in PARTS])


def render_sample(
    cameras: Cameras, times: Float[Tensor, " T"], *, supersampling: int = 3, parts: tuple[Part, ...] = PARTS
) -> UInt8[np.ndarray, "T V H W 4"]:
    """Renders images with straight alpha; colors are 0 where alpha is 0.

    Args:
        cameras: cameras [V] or [T, V], outside the ball of radius 0.5 around the origin that contains the creature.
        times: times in [0, 1]; the pose at time 1 is that at time 0.
        supersampling: rays per pixel along each axis; their premultiplied sRGB values are averaged.
        parts: parts of the creature; those attached to a joint move with it.

    Raises:
        ValueError: a camera is inside the creature or looks away from it, or the cameras have another number of times.
    """
    images = np.zeros((len(times), cameras.num_views, cameras.height, cameras.width, 4), np.uint8)
    exposures = _exposures(cameras, times, supersampling, parts)
    count = len(times) * cameras.num_views
    for time, view, shapes, camera in tracked(exposures, "rendering the sample", count):
        hits = trace(shapes, camera, align=supersampling)
        colors = shade(hits, parts, shapes, camera.viewmat)
        rgba = np.concatenate((colors, hits.parts[None] != NOTHING))
        _window(images[time, view], hits, supersampling)[...] = _straight(_pixel_means(rgba, supersampling))
    return images


def moving_mask(cameras: Cameras, times: Float[Tensor, " T"]) -> Bool[np.ndarray, "T V H W"]:
    """Pixels whose center shows a part that moves at some time; arguments as for `render_sample`."""
    mask = np.zeros((len(times), cameras.num_views, cameras.height, cameras.width), bool)
    for time, view, shapes, camera in _exposures(cameras, times, rays_per_pixel=1):
        hits = trace(shapes, camera, align=1)
        _window(mask[time, view], hits, 1)[...] = _MOVES[hits.parts] & (hits.parts != NOTHING)
    return mask


def _exposures(
    cameras: Cameras, times: Float[Tensor, " T"], rays_per_pixel: int, parts: tuple[Part, ...] = PARTS
) -> Iterator[tuple[int, int, Shapes, Pinhole]]:
    """For every image: the indices of its time and view, the pose of the parts, and the camera of the rays."""
    if cameras.viewmats.ndim == 4 and len(cameras.viewmats) != len(times):
        raise ValueError(f"cameras must have {len(times)} times or no time axis, got {len(cameras.viewmats)} times.")
    finer = cameras.resized(cameras.width * rays_per_pixel, cameras.height * rays_per_pixel)
    grid = (len(times), cameras.num_views)
    viewmats = finer.viewmats.expand(*grid, 4, 4).double().numpy()
    Ks = finer.Ks.expand(*grid, 3, 3).double().numpy()
    for time, t in enumerate(times.tolist()):
        shapes = pose_parts(parts, JOINTS, t)
        for view in range(cameras.num_views):
            yield time, view, shapes, Pinhole(viewmats[time, view], Ks[time, view], finer.width, finer.height)


def _window(image: np.ndarray, hits: Hits, rays_per_pixel: int) -> np.ndarray:
    """The pixels of an image that the window of `hits` covers."""
    top, left = hits.top // rays_per_pixel, hits.left // rays_per_pixel
    height, width = (count // rays_per_pixel for count in hits.parts.shape)
    return image[top : top + height, left : left + width]


def _pixel_means(rays: Float[np.ndarray, "C h w"], rays_per_pixel: int) -> Float[np.ndarray, "C H W"]:
    channels, height, width = rays.shape
    blocks = rays.reshape(channels, height // rays_per_pixel, rays_per_pixel, width // rays_per_pixel, rays_per_pixel)
    return blocks.mean((2, 4))


def _straight(premultiplied: Float[np.ndarray, "4 H W"]) -> UInt8[np.ndarray, "H W 4"]:
    alphas = premultiplied[3:]
    colors = premultiplied[:3] / np.maximum(alphas, 1e-6)
    return (255 * np.concatenate((colors, alphas))).round().astype(np.uint8).transpose(1, 2, 0)
