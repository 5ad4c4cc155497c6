"""The color of a surface where images show it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import project_points
from ds4d.types import Cameras, Rendering

_SHARPNESS = 6  # how much more a view from straight ahead counts than a slanting one


def color_vertices(
    vertices: Float[Tensor, "P 3"],
    triangles: Int[Tensor, "F 3"],
    rendering: Rendering,
    cameras: Cameras,
    tolerance: float,
) -> Float[Tensor, "P 3"]:
    """Each vertex's color in [0, 1]: the mean over the views that see it, those from straight ahead first.

    Args:
        vertices: world units.
        triangles: counter-clockwise from outside.
        rendering: premultiplied colors, alphas and depths of the views [V].
        cameras: of the views.
        tolerance: how far a vertex may lie behind what a view sees and still count as seen, world units.

    Returns:
        The views' colors; where no view sees a vertex, that of its neighbors, or gray.
    """
    normals = vertex_normals(vertices, triangles)
    total, weights = torch.zeros_like(vertices), torch.zeros(len(vertices), 1)
    for view in range(cameras.num_views):
        camera = cameras[view : view + 1]
        pixels, depths = project_points(vertices, camera)
        grid = 2 * pixels[0] / pixels.new_tensor([cameras.width, cameras.height]) - 1
        layers = torch.cat((rendering.colors[view], rendering.alphas[view], rendering.depths[view]))
        shown = F.grid_sample(layers[None], grid[None, None], align_corners=False)[0, :, 0].T
        facing = (normals * F.normalize(camera.centers - vertices, dim=1)).sum(1).clamp_min(0)
        seen = (shown[:, 3] > 0.5) & (depths[0] < shown[:, 4] + tolerance)
        weight = (seen * facing**_SHARPNESS)[:, None]
        total += weight * shown[:, :3] / shown[:, 3:4].clamp_min(0.5)
        weights += weight
    return _filled(total / weights.clamp_min(1e-8), weights[:, 0] > 1e-6, triangles).clamp(0, 1)


def vertex_normals(vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"]) -> Float[Tensor, "P 3"]:
    """Unit normals that point outwards: the means over the triangles at each vertex, large ones first."""
    corners = vertices[triangles]
    normals = (corners[:, 1] - corners[:, 0]).cross(corners[:, 2] - corners[:, 0], dim=1)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(0, triangles[:, corner], normals)
    return F.normalize(total, dim=1)


def _filled(colors: Tensor, known: Tensor, triangles: Tensor) -> Tensor:
    """Colors spread from triangle to triangle over vertices that have none, gray where they never arrive."""
    while not known.all():
        share = (known[triangles].float() * 1.0)[..., None]
        mean = (colors[triangles] * share).sum(1) / share.sum(1).clamp_min(1)
        total, count = torch.zeros_like(colors), torch.zeros(len(colors), 1)
        for corner in range(3):
            total.index_add_(0, triangles[:, corner], mean * (share.sum(1) > 0))
            count.index_add_(0, triangles[:, corner], (share.sum(1) > 0).float())
        reached = ~known & (count[:, 0] > 0)
        if not reached.any():
            return torch.where(known[:, None], colors, torch.full_like(colors, 0.5))
        colors = torch.where(reached[:, None], total / count.clamp_min(1), colors)
        known = known | reached
    return colors
