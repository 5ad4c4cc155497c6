"""Points from mesh and point cloud files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.io import check_ply, check_regular, parse_json, read_bytes
from ds4d.io.bounded_files import MAX_JSON_BYTES
from ds4d.io.images import MAX_PIXELS

_MAX_BYTES, _MAX_NEARBY_BYTES = 2**28, 2**27
_MAX_VERTICES = 10**7
_MAX_COORDINATE = 1e9  # beyond it, areas and distances lose all precision
_SUFFIXES = (".ply", ".obj", ".glb")


def read_points(
    path: Path, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"] | None]:
    """Points of a mesh or point cloud, in the space of the file, and their colors.

    Meshes are sampled uniformly by area. Of meshes without area the vertices are taken; of these and of point clouds a
    random subset, or all if there are no more.

    Args:
        path: PLY, OBJ or GLB file.
        count: number of points.
        generator: random generator of the samples.

    Returns:
        Positions; RGB in [0, 1] from vertices, faces or textures, None unless every part of the file has colors.

    Raises:
        ValueError: the file is missing, of another format, damaged, too large, or without finite points.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path} must be a PLY, OBJ or GLB file, got {path.suffix!r}. Convert it to one.")
    if not path.is_file():
        raise ValueError(f"{path} must exist, got no file. Give a PLY, OBJ or GLB file.")
    parts = _parts(path)
    surfaces = [part for part in parts if len(getattr(part, "faces", ()))]
    for part in parts:
        _check_part(part, path)
    clouds = [part for part in parts if len(getattr(part, "vertices", ()))]
    if not clouds:
        raise ValueError(f"{path} must hold points, got none. Export it again.")
    try:
        has_area = any(part.area > 0 for part in surfaces)  # a mesh without area has its vertices alone
        positions, colors = _sample(surfaces, count, generator) if has_area else _choose(clouds, count, generator)
    except Exception as error:  # trimesh checks neither texture coordinates nor colors
        raise ValueError(f"{path} must have valid colors, got {error!r}. Export it again.") from error
    if colors is not None and not np.isfinite(colors).all():
        raise ValueError(f"{path} must have finite colors, got NaN or infinity. Export it again.")
    return torch.from_numpy(positions).float(), None if colors is None else torch.from_numpy(colors).float()


def read_meshes(path: Path) -> list[Any]:
    """The meshes of a file as objects of trimesh, with their materials, in the space of the file.

    Args:
        path: PLY, OBJ or GLB file, which exists.

    Raises:
        ValueError: the file is damaged, too large, or has no triangles.
    """
    parts = [part for part in _parts(path) if len(getattr(part, "faces", ()))]
    for part in parts:
        _check_part(part, path)
    if not parts:
        raise ValueError(f"{path} must have triangles, got none. Export a mesh.")
    return parts


def _parts(path: Path) -> list[Any]:
    """The meshes and point clouds of a file, with the transforms of its scene applied."""
    import trimesh

    size = check_regular(path, max_bytes=_MAX_BYTES)
    if path.suffix.lower() == ".ply":
        check_ply(path)
    try:
        if path.suffix.lower() == ".glb":
            _check_glb(path, size)
        loaded = trimesh.load(path, process=False, resolver=_nearby_files(path))
        if not isinstance(loaded, trimesh.Scene):
            return [loaded]
        sizes = {name: len(getattr(part, "vertices", ())) for name, part in loaded.geometry.items()}
        total = sum(sizes[loaded.graph[node][1]] for node in loaded.graph.nodes_geometry)
        if total > _MAX_VERTICES:  # of all copies that nodes make of a mesh
            raise ValueError(f"it must hold at most {_MAX_VERTICES} points, got {total}")
        return loaded.dump()
    except Exception as error:  # trimesh's readers raise whatever their formats raise
        raise ValueError(f"{path} must be a PLY, OBJ or GLB file, got {error!r}. Export it again.") from error


def _nearby_files(path: Path) -> Any:
    """The files that a mesh may name: materials and textures below its own folder."""
    from trimesh.resolvers import FilePathResolver

    folder = Path(os.path.realpath(path.parent))

    class Nearby(FilePathResolver):
        def get(self, name: str) -> bytes:
            inner = Path(os.path.realpath(folder / name.strip()))
            if not inner.is_relative_to(folder):
                raise ValueError(f"{name} must be below the folder of {path}")
            return read_bytes(inner, max_bytes=_MAX_NEARBY_BYTES)

    return Nearby(str(path))


def _check_glb(path: Path, size: int) -> None:
    """Refuses accessors with more elements than the file has bytes: those without data are allocated, too."""
    with path.open("rb") as file:
        header = file.read(20)
        content = parse_json(file.read(min(int.from_bytes(header[12:16], "little"), MAX_JSON_BYTES)))
    for accessor in content.get("accessors", ()):
        count = accessor["count"]
        if not isinstance(count, int) or not 0 <= count <= size:
            raise ValueError(f"an accessor must have at most as many elements as the file has bytes, got {count}")


def _check_part(part: Any, path: Path) -> None:
    """Refuses points that are not finite, faces beyond them, and textures too large to decode."""
    vertices, faces = np.asarray(getattr(part, "vertices", ())), np.asarray(getattr(part, "faces", ()))
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(vertices).all() and (np.abs(vertices) <= _MAX_COORDINATE).all()
    if not is_finite:
        raise ValueError(f"{path} must hold finite points within {_MAX_COORDINATE:g}, got others. Remove those points.")
    if faces.size and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ValueError(f"{path} must have faces of its own {len(vertices)} points, got others. Export it again.")
    material = getattr(getattr(part, "visual", None), "material", None)
    for name in ("image", "baseColorTexture"):
        image = getattr(material, name, None)
        if image is not None and image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"{path} must have textures of at most {MAX_PIXELS} pixels, got {image.width} x "
                f"{image.height}. Reduce them."
            )


def _sample(surfaces: list[Any], count: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Points sampled on meshes, uniformly by area, with their colors."""
    import trimesh

    surfaces = [part for part in surfaces if part.area > 0]
    areas = torch.tensor([float(part.area) for part in surfaces], dtype=torch.float64)
    areas = (areas / areas.max()).float()
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
