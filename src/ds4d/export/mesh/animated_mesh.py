"""A mesh of fixed topology that moves with the Gaussians.

middle frame, rendered from all sides -> TSDF -> surface nets -> smooth, colored surface
surface + Gaussians at any times -> skinned vertices
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import tracked
from ds4d.export.mesh.colors import color_vertices
from ds4d.export.mesh.skinning import deform_vertices
from ds4d.export.mesh.surface_nets import extract_surface
from ds4d.export.mesh.texture import Texture, bake_texture
from ds4d.export.mesh.triangles import keep_large_components, smooth
from ds4d.export.mesh.tsdf import bounding_sphere, fuse_depths, surrounding_cameras
from ds4d.scene import Scene
from ds4d.types import Cameras, Renderer, Rendering

RESOLUTION = 96  # default number of grid cells along the object
_MIN_RESOLUTION, _MAX_RESOLUTION = 8, 512
_VIEWS = 48
_PIXELS_PER_CELL = 3
_MIN_COMPONENT = 0.02  # components with a smaller fraction of the largest one's vertices are removed
_VIEWS_AT_ONCE = 8


@dataclass(frozen=True)
class AnimatedMesh:
    """A triangle mesh over time, in normalized space.

    Attributes:
        times: times of the vertices, in [0, 1].
        vertices: vertices at each time.
        rest: vertices at the middle frame, where the surface was found.
        triangles: vertex indices of each triangle, counter-clockwise seen from outside.
        colors: sRGB colors of the vertices at the middle frame, in [0, 1].
        texture: the same colors in more detail, with the mesh cut for it; None without.
    """

    times: Float[Tensor, " T"]
    vertices: Float[Tensor, "T P 3"]
    rest: Float[Tensor, "P 3"]
    triangles: Int[Tensor, "F 3"]
    colors: Float[Tensor, "P 3"]
    texture: Texture | None = None


@torch.no_grad()
def animate_mesh(
    scene: Scene,
    renderer: Renderer,
    times: Float[Tensor, " T"],
    resolution: int = RESOLUTION,
    texture: int | None = None,
) -> AnimatedMesh:
    """The surface of the middle frame, moved to other times by the Gaussians near it.

    Args:
        scene: the scene to turn into a mesh.
        renderer: the renderer for the device of the scene.
        times: times of the result, in [0, 1].
        resolution: number of grid cells along each side of the cube around the object, in [8, 512].
        texture: height and width of a texture, pixels; None for colors of vertices alone.

    Raises:
        ValueError: the resolution or the size of the texture is out of range, or the Gaussians cover nothing.
    """
    if not _MIN_RESOLUTION <= resolution <= _MAX_RESOLUTION:
        raise ValueError(f"resolution must be in [{_MIN_RESOLUTION}, {_MAX_RESOLUTION}], got {resolution}.")
    middle = torch.tensor(scene.timeline.times, device=scene.device)[[scene.timeline.middle]]
    rest = scene.raw_at(middle).at_time(0).to("cpu")
    sphere = bounding_sphere(rest)
    cell = 2 * sphere.radius / resolution
    cameras = surrounding_cameras(sphere, _VIEWS, _PIXELS_PER_CELL * resolution)
    rendering = _render_views(scene, renderer, middle, cameras)
    grid = fuse_depths(rendering, cameras, sphere, resolution)
    vertices, triangles = keep_large_components(*extract_surface(grid), fraction=_MIN_COMPONENT)
    if len(vertices) == 0:
        raise ValueError(
            "the middle frame must have a surface to make a mesh, got Gaussians that are transparent or thinner than "
            f"a grid cell ({cell:.3f}). Raise the resolution."
        )
    vertices = smooth(sphere.grid_to_world(vertices, resolution), triangles)
    colors = color_vertices(vertices, triangles, rendering, cameras, tolerance=2 * cell)
    baked = None
    if texture is not None:
        baked = bake_texture(vertices, triangles, colors, rendering, cameras, tolerance=2 * cell, size=texture)
    moved = deform_vertices(vertices, triangles, rest, scene, times)
    return AnimatedMesh(times.cpu(), moved, vertices, triangles, colors, baked)


def _render_views(scene: Scene, renderer: Renderer, time: Float[Tensor, " 1"], cameras: Cameras) -> Rendering:
    """Renderings of one time from all cameras [V], on the CPU."""
    parts = []
    gaussians = scene.at(time)
    for rows in tracked(torch.arange(cameras.num_views).split(_VIEWS_AT_ONCE), "rendering all sides"):
        parts.append(renderer.render(gaussians, cameras[rows][None].to(scene.device)))
    colors, alphas, depths = (
        torch.cat([getattr(part, name)[0].cpu() for part in parts]) for name in ("colors", "alphas", "depths")
    )
    return Rendering(colors, alphas, depths)
