"""TSDF fusion: a signed distance grid from depth images of the Gaussians (Curless and Levoy 1996)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import tracked
from ds4d.geometry import intrinsics, look_at, project_points
from ds4d.geometry.visual_hull import voxel_centers
from ds4d.types import Cameras, RawGaussians, Rendering

_CAMERA_DISTANCE = 5.0  # in radii
_TRUNCATION = 0.06  # in radii: tolerance to views that disagree, and the thickness of thin sheets
_QUANTILE = 0.998  # fraction of the Gaussians that count: a few outliers must not make the object small
_MIN_OPACITY = 0.05  # of a Gaussian that counts
_SIGMAS = 3.0  # extent of a Gaussian, in standard deviations


@dataclass(frozen=True)
class BoundingSphere:
    """A sphere around the object.

    Attributes:
        center: center of the sphere, normalized units.
        radius: radius of the sphere, normalized units.
    """

    center: Float[Tensor, " 3"]
    radius: float

    def grid_to_world(self, points: Float[Tensor, "P 3"], resolution: int) -> Float[Tensor, "P 3"]:
        """World positions of points in grid cells; samples lie at (i + 0.5) / `resolution` of the bounding cube."""
        return self.center + self.radius * (2 * (points + 0.5) / resolution - 1)


def bounding_sphere(gaussians: RawGaussians) -> BoundingSphere:
    """A sphere around all visible Gaussians of one frame, except for a few outliers."""
    visible = gaussians.opacity_logits.sigmoid() > _MIN_OPACITY
    if not visible.any():
        visible = torch.ones_like(visible)
    means, sizes = gaussians.means[visible], gaussians.log_scales[visible].amax(1).exp()
    center = torch.stack((means.quantile(1 - _QUANTILE, 0), means.quantile(_QUANTILE, 0))).mean(0)
    reach = (means - center).norm(dim=1) + _SIGMAS * sizes
    return BoundingSphere(center, float(reach.quantile(_QUANTILE).clamp_min(1e-3)))


def surrounding_cameras(sphere: BoundingSphere, count: int, size: int) -> Cameras:
    """Cameras [V] spread evenly around a sphere (a Fibonacci lattice), each of which sees all of it.

    Args:
        sphere: the sphere that the cameras look at.
        count: number of cameras, V, at least 1.
        size: height and width of the images, pixels.
    """
    viewmats = []
    for i in range(count):
        height = 1 - (2 * i + 1) / count
        ring, angle = math.sqrt(1 - height * height), i * math.pi * (3 - math.sqrt(5))
        direction = torch.tensor([ring * math.sin(angle), height, ring * math.cos(angle)])
        viewmats.append(look_at(sphere.center + _CAMERA_DISTANCE * sphere.radius * direction, sphere.center))
    K = intrinsics(2 * math.degrees(math.asin(1 / _CAMERA_DISTANCE)), size, size)
    return Cameras(torch.stack(viewmats), K.expand(count, 3, 3), size, size)


def fuse_depths(
    rendering: Rendering, cameras: Cameras, sphere: BoundingSphere, resolution: int
) -> Float[Tensor, "R R R"]:
    """Truncated signed distances to the surface on a grid over the sphere's bounding cube, in radii; negative inside.

    The distance at a point is the mean, over the views that do not see it occluded, of its distance along the ray to
    the surface. Points that are occluded in all views are inside.

    Args:
        rendering: alphas and depths of the views [V].
        cameras: cameras of the views.
        sphere: the sphere that the cameras look at.
        resolution: number of samples along each side of the cube.
    """
    points = voxel_centers(torch.stack((sphere.center - sphere.radius, sphere.center + sphere.radius)), resolution)
    total, count = torch.zeros(len(points)), torch.zeros(len(points))
    for view in tracked(range(cameras.num_views), "fusing depths"):
        pixels, depths = project_points(points, cameras[view : view + 1])
        surface = torch.where(rendering.alphas[view] > 0.5, rendering.depths[view], torch.inf).flatten()
        distances = ((surface[_pixel_indices(pixels[0], cameras)] - depths[0]) / sphere.radius).clamp_max(_TRUNCATION)
        visible = distances > -_TRUNCATION
        total += distances * visible
        count += visible
    fused = torch.where(count > 0, total / count.clamp_min(1), -_TRUNCATION)
    return fused.view(resolution, resolution, resolution)


def _pixel_indices(pixels: Float[Tensor, "N 2"], cameras: Cameras) -> Int[Tensor, " N"]:
    """Flat index of the pixel that contains each position, or of the nearest one for positions outside the image."""
    column, row = pixels.floor().long().unbind(-1)
    return row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)
