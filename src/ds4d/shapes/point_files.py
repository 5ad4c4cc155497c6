"""Points from mesh and point cloud files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_SUFFIXES = (".ply", ".obj", ".glb")


def read_points(
    path: Path, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"] | None]:
    """Points of a mesh or point cloud, in the space of the file, and their colors.

    Meshes are sampled uniformly by area; of larger point clouds a random subset is taken, smaller ones completely.

    Args:
        path: PLY, OBJ or GLB file.
        count: number of points.
        generator: random generator of the samples.

    Returns:
        Positions; RGB in [0, 1] from vertices, faces or textures, None unless every part of the file has colors.

    Raises:
        ValueError: the file is missing, of another format, damaged, or without finite points.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path} must be a PLY, OBJ or GLB file, got {path.suffix!r}. Convert it to one.")
    if not path.is_file():
        raise ValueError(f"{path} must exist, got no file. Give a PLY, OBJ or GLB file.")
    parts = _parts(path)
    surfaces = [part for part in parts if len(getattr(part, "faces", ()))]
    for part in parts:
        if not np.isfinite(getattr(part, "vertices", ())).all():
            raise ValueError(f"{path} must hold finite points, got NaN or Inf. Remove those points.")
    if surfaces:
        positions, colors = _sample(surfaces, count, generator)
    else:
        clouds = [part for part in parts if len(getattr(part, "vertices", ()))]
        if not clouds:
            raise ValueError(f"{path} must hold points, got none. Export it again.")
        positions, colors = _choose(clouds, count, generator)
    return torch.from_numpy(positions).float(), None if colors is None else torch.from_numpy(colors).float()


def _parts(path: Path) -> list[Any]:
    """The meshes and point clouds of a file, with the transforms of its scene applied."""
    import trimesh

    try:
        loaded = trimesh.load(path, process=False)
        return loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    except Exception as error:  # trimesh's readers raise whatever their formats raise
        raise ValueError(f"{path} must be a PLY, OBJ or GLB file, got {error!r}. Export it again.") from error


def _sample(surfaces: list[Any], count: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Points sampled on meshes, uniformly by area, with their colors."""
    import trimesh

    areas = torch.tensor([float(part.area) for part in surfaces])
    counts = torch.multinomial(areas, count, replacement=True, generator=generator).bincount(minlength=len(surfaces))
    positions, colors = [], []
    for part, part_count in zip(surfaces, counts.tolist(), strict=True):
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        points, faces = trimesh.sample.sample_surface(part, part_count, seed=seed)[:2]
        barycentric = trimesh.triangles.points_to_barycentric(part.triangles[faces], points)
        positions.append(points)
        colors.append(_surface_colors(part, part.faces[faces], faces, barycentric))
    return np.concatenate(positions), _joined(colors)


def _surface_colors(part: Any, corners: np.ndarray, faces: np.ndarray, barycentric: np.ndarray) -> np.ndarray | None:
    """RGB of points of a mesh, given the vertices of their faces and their barycentric coordinates."""
    visual = part.visual
    if visual.kind == "texture":
        uv = None if visual.uv is None else np.einsum("nc,ncd->nd", barycentric, visual.uv[corners])
        shown = visual.material.to_color(uv)
        rgba = np.broadcast_to(visual.material.main_color if shown is None else shown, (len(faces), 4))
    elif visual.kind == "face":
        rgba = visual.face_colors[faces]
    elif visual.kind == "vertex":
        rgba = np.einsum("nc,ncd->nd", barycentric, visual.vertex_colors[corners])
    else:
        return None
    return rgba[:, :3] / 255


def _choose(clouds: list[Any], count: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Points of point clouds, a random subset if there are more than `count`."""
    positions = np.concatenate([np.asarray(cloud.vertices) for cloud in clouds])
    colors = _joined([_vertex_colors(cloud) for cloud in clouds])
    if len(positions) > count:
        rows = torch.randperm(len(positions), generator=generator)[:count].numpy()
        positions, colors = positions[rows], None if colors is None else colors[rows]
    return positions, colors


def _vertex_colors(cloud: Any) -> np.ndarray | None:
    rgba = np.asarray(cloud.visual.vertex_colors)
    return rgba[:, :3] / 255 if cloud.visual.kind and len(rgba) else None


def _joined(colors: list[np.ndarray | None]) -> np.ndarray | None:
    """The colors of all parts; None unless every part has some."""
    known = [part for part in colors if part is not None]
    return np.concatenate(known) if len(known) == len(colors) else None
