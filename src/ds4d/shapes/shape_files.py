"""Shapes from 3D files of any kind, as Gaussians."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry.spherical_harmonics import SH0
from ds4d.io import GltfModel, read_gltf, to_srgb
from ds4d.shapes.gaussian_files import check_finite, read_ply, read_splat
from ds4d.shapes.point_files import read_points
from ds4d.shapes.points import gaussians_from_points
from ds4d.types import RawGaussians

SHAPE_SUFFIXES = (".ply", ".splat", ".glb", ".gltf", ".obj")

_OPACITY, _SCALE_FACTOR = 0.99, 0.7  # of the Gaussians on a mesh: no holes, little blur
_HEADER_BYTES = 16_384  # of a PLY file, to which the names of its properties belong


@dataclass(frozen=True)
class Shape:
    """The shape in a file.

    Attributes:
        gaussians: Gaussians without a time axis, in the space of the file.
        is_colored: whether the file has colors; without, the Gaussians are gray.
    """

    gaussians: RawGaussians
    is_colored: bool

    @property
    def colors(self) -> Float[Tensor, "N 3"]:
        """RGB in [0, 1] of the Gaussians, the mean over all directions."""
        return (SH0 * self.gaussians.sh[:, 0] + 0.5).clamp(0, 1)


def read_shape(path: Path, count: int, generator: torch.Generator) -> Shape:
    """Reads Gaussians, a mesh or a point cloud.

    Args:
        path: PLY of Gaussians, of a mesh or of points; splat, GLB, glTF or OBJ file. Animations are not played.
        count: number of points on a mesh, and at most of a point cloud; Gaussians are read completely.
        generator: random generator of the points.

    Raises:
        ValueError: the file is missing, of another format or damaged, has no surface or fewer than 4 points, or NaN or
            infinity. The message names it.
    """
    suffix = path.suffix.lower()
    if suffix not in SHAPE_SUFFIXES:
        raise ValueError(f"{path} must be one of {', '.join(SHAPE_SUFFIXES)}, got {suffix!r}. Convert it to one.")
    if not path.is_file():
        raise ValueError(f"{path} must be a file, got nothing there. Check the path.")
    if suffix == ".splat" or (suffix == ".ply" and _holds_gaussians(path)):
        gaussians = read_splat(path) if suffix == ".splat" else read_ply(path)
        check_finite(gaussians, str(path))
        _check_count(path, gaussians.num_gaussians)
        return Shape(gaussians, is_colored=True)
    if suffix in (".glb", ".gltf"):
        positions, colors = _sample_gltf(read_gltf(path), path, count, generator)
    else:
        positions, colors = read_points(path, count, generator)
    _check_count(path, len(positions))
    is_colored = colors is not None and bool((colors < 0.999).any())  # white is how viewers show what has no color
    shown = colors if colors is not None and is_colored else torch.full_like(positions, 0.5)
    raw = gaussians_from_points(positions, shown, opacity=_OPACITY, sh_degree=0, scale_factor=_SCALE_FACTOR)
    return Shape(raw, is_colored)


def _holds_gaussians(path: Path) -> bool:
    with path.open("rb") as file:
        return b" f_dc_0" in file.read(_HEADER_BYTES).partition(b"end_header")[0]


def _check_count(path: Path, count: int) -> None:
    if count < 4:
        raise ValueError(f"{path} must hold a surface, got {count} points. Export it again.")


def _sample_gltf(
    model: GltfModel, path: Path, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Visible points of a model at rest, uniform by area, and their colors."""
    vertices = model.vertices_at(None, 0.0)
    first, second, third = (torch.from_numpy(vertices[model.faces[:, i]]) for i in range(3))
    areas = (second - first).cross(third - first, dim=-1).norm(dim=-1)
    edges = areas.double().cumsum(0)
    if not edges[-1] > 0:
        raise ValueError(f"{path} must hold a surface, got triangles without area. Export it again.")
    where = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
    chosen = torch.searchsorted(edges, where, right=True).clamp_max(len(edges) - 1)
    across, along = torch.rand(2, count, generator=generator)
    root = across.sqrt()
    barycentric = torch.stack((1 - root, root * (1 - along), root * along), dim=-1)
    seen = torch.from_numpy(model.visible(chosen.numpy(), barycentric.numpy()))
    chosen, barycentric = chosen[seen], barycentric[seen]
    colors = to_srgb(np.clip(model.surface_colors(chosen.numpy(), barycentric.numpy()), 0, 1))
    corners = torch.stack((first[chosen], second[chosen], third[chosen]), dim=1)
    return (barycentric[:, :, None] * corners).sum(1), torch.from_numpy(colors)
