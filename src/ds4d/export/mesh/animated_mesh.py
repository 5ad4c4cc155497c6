"""A mesh of one topology that moves as the Gaussians do.

middle frame drawn from all round -> solid -> surface -> colored vertices, each tied to the nearest Gaussians
Gaussians at any time -> the vertices they carry along
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import check_ranges, tracked
from ds4d.export.mesh.colors import color_vertices
from ds4d.export.mesh.surface_nets import extract_surface
from ds4d.export.mesh.triangles import average_neighbors, keep_large_parts, smooth
from ds4d.export.mesh.tsdf import ball_round, cameras_round, carve_depths
from ds4d.scene import Scene
from ds4d.types import Cameras, RawGaussians, Renderer, Rendering

_VIEWS = 48
_PIXELS_PER_STEP = 3  # of the grid
_CRUMB = 0.02  # parts with less of the largest one's vertices are left out
_CARRIERS = 16  # Gaussians that carry a vertex
_WEISZFELD, _CLOSE = 10, 1e-3  # steps towards the median of paths; those so near to it count alike, inner units
_ROUNDS = 4  # of averaging a vertex's path with those of its neighbors
_VIEWS_AT_ONCE = 8
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class MeshConfig:
    """How fine a mesh is.

    Attributes:
        resolution: steps of the grid along each side of the cube round the object.
    """

    resolution: int = 96

    def __post_init__(self) -> None:
        check_ranges(self, resolution="[8, 512]")


@dataclass(frozen=True)
class AnimatedMesh:
    """A triangle mesh over time; inner world.

    Attributes:
        times: in [0, 1].
        vertices: places at each time.
        triangles: rows of vertices, counter-clockwise from outside.
        colors: of the vertices, sRGB in [0, 1], those of the middle frame.
    """

    times: Float[Tensor, " T"]
    vertices: Float[Tensor, "T P 3"]
    triangles: Int[Tensor, "F 3"]
    colors: Float[Tensor, "P 3"]


@torch.no_grad()
def animate_mesh(scene: Scene, renderer: Renderer, times: Float[Tensor, " T"], config: MeshConfig) -> AnimatedMesh:
    """The surface of the middle frame, carried along by the Gaussians near it.

    Args:
        scene: what moves.
        renderer: the splatter for the scene's device.
        times: at which places are wanted, in [0, 1].
        config: how fine.

    Raises:
        ValueError: the Gaussians cover nothing.
    """
    middle = torch.tensor(scene.timeline.times, device=scene.device)[[scene.timeline.middle]]
    rest = scene.raw_at(middle).at_time(0).to("cpu")
    ball = ball_round(rest)
    step = 2 * ball.radius / config.resolution
    cameras = cameras_round(ball, _VIEWS, _PIXELS_PER_STEP * config.resolution)
    rendering = _look(scene, renderer, middle, cameras)
    grid = carve_depths(rendering, cameras, ball, config.resolution)
    vertices, triangles = keep_large_parts(*extract_surface(grid), share=_CRUMB)
    if len(vertices) == 0:
        raise ValueError(
            "mesh: the Gaussians of the middle frame must cover something, got a scene that is transparent or "
            f"thinner than a step of the grid ({step:.3f}). Take a finer grid."
        )
    vertices = smooth(ball.grid_to_world(vertices, config.resolution), triangles)
    colors = color_vertices(vertices, triangles, rendering, cameras, tolerance=2 * step)
    return AnimatedMesh(times.cpu(), _carried(vertices, triangles, rest, scene, times), triangles, colors)


def _carried(
    vertices: Float[Tensor, "P 3"],
    triangles: Int[Tensor, "F 3"],
    rest: RawGaussians,
    scene: Scene,
    times: Float[Tensor, " T"],
) -> Float[Tensor, "T P 3"]:
    """The vertices at each time: moved as most Gaussians near them have moved since they lay at `rest`.

    Gaussians take each other's place now and then, and one that goes its own way must not tear the surface. So a vertex
    follows the median of its carriers' whole paths, and its neighbors, a little.
    """
    carriers, weights = _carriers(vertices, rest)
    moments = tracked(times.to(scene.device).split(1), "moving the mesh")
    moves = torch.stack([scene.raw_at(time).means[0].cpu() - rest.means for time in moments])
    paths = [
        _median_paths(moves[:, carriers[rows]].movedim(0, 2).flatten(2), weights[rows])
        for rows in tracked(torch.arange(len(vertices)).split(_ROWS_AT_ONCE), "smoothing the paths")
    ]
    return vertices + average_neighbors(torch.cat(paths), triangles, _ROUNDS).unflatten(1, (-1, 3)).movedim(1, 0)


def _median_paths(paths: Float[Tensor, "P K D"], weights: Float[Tensor, "P K"]) -> Float[Tensor, "P D"]:
    """The geometric median of each row's paths, by Weiszfeld's iteration."""
    fractions = weights
    for _ in range(_WEISZFELD):
        median = (paths * fractions[..., None]).sum(1) / fractions.sum(1, keepdim=True)
        fractions = weights / (paths - median[:, None]).norm(dim=-1).clamp_min(_CLOSE)
    return median


def _look(scene: Scene, renderer: Renderer, time: Float[Tensor, " 1"], cameras: Cameras) -> Rendering:
    """The moment seen from all cameras [V], on the CPU."""
    parts = []
    gaussians = scene.at(time)
    for rows in tracked(torch.arange(cameras.num_views).split(_VIEWS_AT_ONCE), "drawing all sides"):
        some = cameras[None, rows]
        parts.append(renderer.render(gaussians, some.to(scene.device)))
    colors, alphas, depths = (
        torch.cat([getattr(part, name)[0].cpu() for part in parts]) for name in ("colors", "alphas", "depths")
    )
    return Rendering(colors, alphas, depths)


def _carriers(
    vertices: Float[Tensor, "P 3"], gaussians: RawGaussians
) -> tuple[Int[Tensor, "P K"], Float[Tensor, "P K"]]:
    """The nearest Gaussians of each vertex and their weights: opaque ones count, near ones count more."""
    count = min(_CARRIERS, gaussians.num_gaussians)
    opacities = gaussians.opacity_logits.sigmoid()
    rows, weights = [], []
    for some in vertices.split(_ROWS_AT_ONCE):
        distances = torch.cdist(some, gaussians.means)
        nearest = distances.topk(count, largest=False)
        spread = nearest.values.mean(1, keepdim=True).clamp_min(1e-6)
        weight = torch.exp(-0.5 * (nearest.values / spread).square()) * opacities[nearest.indices] + 1e-8
        rows.append(nearest.indices)
        weights.append(weight / weight.sum(1, keepdim=True))
    return torch.cat(rows), torch.cat(weights)
