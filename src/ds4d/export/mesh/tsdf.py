"""The solid that Gaussians look like: what their depths, seen from all round, leave over."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import tracked
from ds4d.geometry import intrinsics, look_at, project_points
from ds4d.geometry.visual_hull import voxel_centers
from ds4d.types import Cameras, RawGaussians, Rendering

_FAR = 5.0  # how far cameras stand off, in radii
_CUT_OFF = 0.06  # of the radius: by so much may views disagree, and thin sheets become at most so thick
_FAR_OUT = 0.998  # share of the Gaussians that count: stray ones shall not make the object small
_FAINT = 0.05  # opacity below which a Gaussian does not count
_SIGMAS = 3.0  # of its standard deviations does a Gaussian reach


@dataclass(frozen=True)
class Ball:
    """The part of space that holds the object.

    Attributes:
        center: inner world units.
        radius: inner world units.
    """

    center: Float[Tensor, " 3"]
    radius: float

    def grid_to_world(self, places: Float[Tensor, "P 3"], resolution: int) -> Float[Tensor, "P 3"]:
        """Places in steps of the grid over the ball's cube, whose points lie at (i + 0.5) / `resolution`."""
        return self.center + self.radius * (2 * (places + 0.5) / resolution - 1)


def ball_round(gaussians: RawGaussians) -> Ball:
    """The ball round all Gaussians of one moment that can be seen, but for a few strays."""
    seen = gaussians.opacity_logits.sigmoid() > _FAINT
    if not seen.any():
        seen = torch.ones_like(seen)
    means, sizes = gaussians.means[seen], gaussians.log_scales[seen].amax(1).exp()
    center = torch.stack((means.quantile(1 - _FAR_OUT, 0), means.quantile(_FAR_OUT, 0))).mean(0)
    reach = (means - center).norm(dim=1) + _SIGMAS * sizes
    return Ball(center, float(reach.quantile(_FAR_OUT).clamp_min(1e-3)))


def cameras_round(ball: Ball, count: int, size: int) -> Cameras:
    """`count` cameras [V] evenly round a ball (a Fibonacci sphere), each of which sees all of it.

    Args:
        ball: what they look at.
        count: V, at least 1.
        size: width and height in pixels.
    """
    viewmats = []
    for i in range(count):
        height = 1 - (2 * i + 1) / count
        ring, turn = math.sqrt(1 - height * height), i * math.pi * (3 - math.sqrt(5))
        direction = torch.tensor([ring * math.sin(turn), height, ring * math.cos(turn)])
        viewmats.append(look_at(ball.center + _FAR * ball.radius * direction, ball.center))
    K = intrinsics(2 * math.degrees(math.asin(1 / _FAR)), size, size)
    return Cameras(torch.stack(viewmats), K.expand(count, 3, 3), size, size)


def carve_depths(rendering: Rendering, cameras: Cameras, ball: Ball, resolution: int) -> Float[Tensor, "R R R"]:
    """Signed distances from the surface over the ball's cube, in radii, cut off: below 0 inside.

    As in the fusion of depth maps (Curless and Levoy 1996): the mean over the views of how far a point lies before what
    the view sees there, over those views for which it is not hidden. What is hidden from all of them is inside.

    Args:
        rendering: alphas and depths of the views [V].
        cameras: of the views.
        ball: what they look at.
        resolution: grid points along each side of the cube.
    """
    points = voxel_centers(torch.stack((ball.center - ball.radius, ball.center + ball.radius)), resolution)
    total, count = torch.zeros(len(points)), torch.zeros(len(points))
    for view in tracked(range(cameras.num_views), "fusing the depths"):
        pixels, depths = project_points(points, cameras[view : view + 1])
        surface = torch.where(rendering.alphas[view] > 0.5, rendering.depths[view], torch.inf).flatten()
        before = ((surface[nearest_pixels(pixels[0], cameras)] - depths[0]) / ball.radius).clamp_max(_CUT_OFF)
        seen = before > -_CUT_OFF
        total += before * seen
        count += seen
    distances = torch.where(count > 0, total / count.clamp_min(1), -_CUT_OFF)
    return distances.view(resolution, resolution, resolution)


def nearest_pixels(pixels: Float[Tensor, "N 2"], cameras: Cameras) -> Tensor:
    """Flat index of the pixel that holds each place, or of the one nearest to it at the edge."""
    column, row = pixels.floor().long().unbind(-1)
    return row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)
