"""Tracks as NumPy archives: where points on the surface of the object are over time, as `numpy.load` reads them.

positions  float32 [T, P, 3]  centers in the output world
visible    bool [T, P]        whether the point is seen from the front, the side that the input shows
colors     uint8 [P, 3]       sRGB at the middle frame
times      float32 [T]        in [0, 1]
seconds    float32 [T]        from the start of the clip
up, front  float32 [3]        directions in the output world, which is right-handed
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import tracked
from ds4d.export.mesh import AnimatedMesh, animate_mesh
from ds4d.export.mesh.animated_mesh import RESOLUTION
from ds4d.export.mesh.triangles import vertex_normals
from ds4d.geometry import (
    UpAxis,
    inverse_similarity,
    orbit_cameras,
    project_points,
    set_up_axis,
    transform_points,
)
from ds4d.io import atomic_path
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, Scene, viewing_distance

POINTS = 1024
_SIZE = 256  # of the depth images that decide visibility, pixels
_TOLERANCE = 0.02  # how far behind the rendered depth a visible point may lie, normalized units


@torch.no_grad()
def write_tracks(
    scene: Scene,
    path: str | Path,
    times: Float[Tensor, " T"],
    *,
    up: UpAxis | None = None,
    points: int = POINTS,
    resolution: int = RESOLUTION,
) -> None:
    """Writes the paths of points that are spread evenly over the surface of the middle frame, atomically.

    The points are vertices of the mesh of `animate_mesh`, and move like it.

    Args:
        scene: the scene to write.
        path: the file (.npz).
        times: times of the positions, in [0, 1], rising.
        up: up axis of the output world; None keeps that of the input.
        points: number of points, at least 1; fewer if the mesh has fewer vertices.
        resolution: number of grid cells of the mesh along the object, in [8, 512].

    Raises:
        ValueError: an option is out of range, or the Gaussians cover nothing.
    """
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}.")
    mesh = animate_mesh(scene, renderer_for(scene.device), times, resolution)
    middle = int((mesh.times - scene.timeline.times[scene.timeline.middle]).abs().argmin())
    chosen = farthest_points(mesh.vertices[middle], points)
    world = set_up_axis(scene.world, up)
    arrays = {
        "positions": transform_points(inverse_similarity(world), mesh.vertices[:, chosen]),
        "visible": _visible(scene, mesh, chosen),
        "colors": (255 * mesh.colors[chosen]).round().byte(),
        "times": mesh.times.float(),
        "seconds": (mesh.times * scene.timeline.duration).float(),
        "up": world.rotation[1].float(),
        "front": world.rotation[2].float(),
    }
    if not arrays["positions"].isfinite().all():
        raise ValueError(f"write_tracks: positions of {path} must be finite, got NaN or infinite values.")
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **{name: values.cpu().numpy() for name, values in arrays.items()})


def farthest_points(points: Float[Tensor, "P 3"], count: int) -> Int[Tensor, " C"]:
    """Indices of at most `count` points, each as far as possible from those before it; the first point comes first."""
    chosen = torch.zeros(min(count, len(points)), dtype=torch.long)
    distances = torch.full((len(points),), torch.inf)
    for row in range(1, len(chosen)):
        distances = torch.minimum(distances, (points - points[chosen[row - 1]]).square().sum(1))
        chosen[row] = distances.argmax()
    return chosen


def _visible(scene: Scene, mesh: AnimatedMesh, chosen: Int[Tensor, " P"]) -> Bool[Tensor, "T P"]:
    """Whether points of the mesh face the front camera and nothing lies before them, at each time."""
    camera = orbit_cameras([0.0], [0.0], fovy_deg=FOVY_DEG, distance=viewing_distance(scene), width=_SIZE, height=_SIZE)
    renderer, rows = renderer_for(scene.device), []
    for time, vertices in zip(tracked(mesh.times.split(1), "looking from the front"), mesh.vertices, strict=True):
        drawn = renderer.render(scene.at(time.to(scene.device)), camera.expand_times(1).to(scene.device))
        points, normals = vertices[chosen], vertex_normals(vertices, mesh.triangles)[chosen]
        pixels, depths = project_points(points, camera)
        layers = torch.cat((drawn.alphas[0, 0], drawn.depths[0, 0])).cpu()
        samples = F.grid_sample(layers[None], (2 * pixels[0] / _SIZE - 1)[None, None], align_corners=False)[0, :, 0]
        facing = (normals * (camera.centers - points)).sum(1) > 0
        rows.append(facing & (samples[0] > 0.5) & (depths[0] < samples[1] + _TOLERANCE))
    return torch.stack(rows)
