"""Vertex colors from renderings of the surface."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.export.mesh.triangles import vertex_normals
from ds4d.geometry import project_points
from ds4d.types import Cameras, Rendering

_FACING_POWER = 6  # how much more frontal views count than oblique ones


def color_vertices(
    vertices: Float[Tensor, "P 3"],
    triangles: Int[Tensor, "F 3"],
    rendering: Rendering,
    cameras: Cameras,
    tolerance: float,
) -> Float[Tensor, "P 3"]:
    """The color of each vertex in [0, 1]: the mean over the views in which it is visible, frontal views first.

    Args:
        vertices: vertices, normalized units.
        triangles: vertex indices of each triangle, counter-clockwise seen from outside.
        rendering: premultiplied colors, alphas and depths of the views [V].
        cameras: cameras of the views.
        tolerance: how far behind the rendered depth a vertex may lie and still be visible, normalized units.

    Returns:
        The colors of the views; vertices that no view sees get the color of their neighbors, or gray.
    """
    colors, known = color_points(vertices, vertex_normals(vertices, triangles), rendering, cameras, tolerance)
    return _spread(colors, known, triangles).clamp(0, 1)


def color_points(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    rendering: Rendering,
    cameras: Cameras,
    tolerance: float,
) -> tuple[Float[Tensor, "P 3"], Bool[Tensor, " P"]]:
    """The color of each point of a surface, and whether any view sees it.

    Args:
        points: points, normalized units.
        normals: unit vectors outwards.
        rendering: premultiplied colors, alphas and depths of the views [V].
        cameras: cameras of the views.
        tolerance: how far behind the rendered depth a point may lie and still be visible, normalized units.
    """
    total, weights = torch.zeros_like(points), torch.zeros(len(points), 1)
    for view in range(cameras.num_views):
        camera = cameras[view : view + 1]
        pixels, depths = project_points(points, camera)
        grid = 2 * pixels[0] / pixels.new_tensor([cameras.width, cameras.height]) - 1
        layers = torch.cat((rendering.colors[view], rendering.alphas[view], rendering.depths[view]))
        samples = F.grid_sample(layers[None], grid[None, None], align_corners=False)[0, :, 0].T
        facing = (normals * F.normalize(camera.centers - points, dim=1)).sum(1).clamp_min(0)
        visible = (samples[:, 3] > 0.5) & (depths[0] < samples[:, 4] + tolerance)
        weight = (visible * facing**_FACING_POWER)[:, None]
        total += weight * samples[:, :3] / samples[:, 3:4].clamp_min(0.5)
        weights += weight
    return total / weights.clamp_min(1e-8), weights[:, 0] > 1e-6


def _spread(
    colors: Float[Tensor, "P 3"], known: Bool[Tensor, " P"], triangles: Int[Tensor, "F 3"]
) -> Float[Tensor, "P 3"]:
    """Colors spread from triangle to triangle to vertices that have none; gray where none arrive."""
    while not known.all():
        weight = known[triangles].float()[..., None]
        mean = (colors[triangles] * weight).sum(1) / weight.sum(1).clamp_min(1)
        total, count = torch.zeros_like(colors), torch.zeros(len(colors), 1)
        for corner in range(3):
            total.index_add_(0, triangles[:, corner], mean * (weight.sum(1) > 0))
            count.index_add_(0, triangles[:, corner], (weight.sum(1) > 0).float())
        reached = ~known & (count[:, 0] > 0)
        if not reached.any():
            return torch.where(known[:, None], colors, torch.full_like(colors, 0.5))
        colors = torch.where(reached[:, None], total / count.clamp_min(1), colors)
        known = known | reached
    return colors
