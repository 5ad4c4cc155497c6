"""The colors of a mesh as a texture: xatlas cuts and unfolds the surface, each texel gets the color of its point."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import install_command, parallel_for
from ds4d.export.mesh.colors import color_points
from ds4d.export.mesh.triangles import vertex_normals
from ds4d.types import Cameras, Rendering

MIN_SIZE, MAX_SIZE = 64, 8192  # pixels
_PADDING = 2  # pixels between the parts of the surface: filters mix neighbors
_ROW_GRAIN = 16


@dataclass(frozen=True)
class Texture:
    """A texture, and the mesh cut at its seams.

    Attributes:
        origins: index of each vertex of the cut mesh in the mesh before.
        triangles: vertex indices of each triangle of the cut mesh, in the order before.
        uvs: coordinates of its vertices in [0, 1], from the left and from the top.
        image: sRGB colors.
    """

    origins: Int[Tensor, " Q"]
    triangles: Int[Tensor, "F 3"]
    uvs: Float[Tensor, "Q 2"]
    image: UInt8[np.ndarray, "S S 3"]


def bake_texture(
    vertices: Float[Tensor, "P 3"],
    triangles: Int[Tensor, "F 3"],
    colors: Float[Tensor, "P 3"],
    rendering: Rendering,
    cameras: Cameras,
    *,
    tolerance: float,
    size: int,
) -> Texture:
    """Unfolds a mesh and colors its texture from views.

    Args:
        vertices: vertices, normalized units.
        triangles: vertex indices of each triangle, counter-clockwise seen from outside.
        colors: colors of the vertices in [0, 1], which points have that no view sees.
        rendering: premultiplied colors, alphas and depths of the views [V].
        cameras: cameras of the views.
        tolerance: see `color_points`.
        size: height and width of the texture, pixels, in [64, 8192].

    Raises:
        ValueError: the size is out of range.
        ImportError: xatlas is not installed.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"texture must be in [{MIN_SIZE}, {MAX_SIZE}] pixels, got {size}.")
    origins, cut, uvs = _unfolded(vertices, triangles, size)
    faces, weights = _texels(uvs, cut, size)
    inside = faces >= 0
    corners = triangles[torch.from_numpy(faces[inside]).long()]
    shares = torch.from_numpy(weights[inside]).float()[..., None]
    points = (vertices[corners] * shares).sum(1)
    normals = F.normalize((vertex_normals(vertices, triangles)[corners] * shares).sum(1), dim=1)
    seen, known = color_points(points, normals, rendering, cameras, tolerance)
    shown = torch.where(known[:, None], seen, (colors[corners] * shares).sum(1))
    image = np.zeros((size, size, 3), np.uint8)
    image[inside] = (255 * shown.clamp(0, 1)).round().byte().numpy()
    return Texture(origins, cut, uvs, _filled(image, inside))


def _unfolded(
    vertices: Float[Tensor, "P 3"], triangles: Int[Tensor, "F 3"], size: int
) -> tuple[Int[Tensor, " Q"], Int[Tensor, "F 3"], Float[Tensor, "Q 2"]]:
    try:
        import xatlas
    except ImportError as error:
        raise ImportError(f"a texture needs xatlas. Install it with: {install_command('texture')}") from error
    atlas, packing = xatlas.Atlas(), xatlas.PackOptions()
    atlas.add_mesh(vertices.numpy().astype(np.float32), triangles.numpy().astype(np.uint32))
    packing.resolution, packing.padding = size, _PADDING
    atlas.generate(pack_options=packing)
    origins, cut, uvs = atlas[0]
    return (
        torch.from_numpy(origins.astype(np.int64)),
        torch.from_numpy(cut.astype(np.int64)).reshape(-1, 3),
        torch.from_numpy(np.ascontiguousarray(uvs)).clamp(0, 1),
    )


def _texels(
    uvs: Float[Tensor, "Q 2"], triangles: Int[Tensor, "F 3"], size: int
) -> tuple[Int[np.ndarray, "S S"], Float[np.ndarray, "S S 3"]]:
    """The triangle at the center of each texel, -1 where there is none, and the weights of its corners."""
    from ds4d.rendering.kernels.triangles import draw_triangles  # imports numba

    corners = torch.cat((uvs * size, torch.ones(len(uvs), 1)), dim=1).double()[triangles].contiguous().numpy()
    depths, nearer = np.full((size, size), np.inf), np.zeros((size, size))
    faces, weights = np.full((size, size), -1, np.int32), np.zeros((size, size, 3))
    parallel_for(draw_triangles, size, _ROW_GRAIN, corners, nearer, depths, faces, weights)
    return faces, weights


def _filled(image: UInt8[np.ndarray, "S S 3"], inside: Bool[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S 3"]:
    """The image with the nearest colors in between, which filters and smaller copies of it reach."""
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return image[tuple(nearest)]
