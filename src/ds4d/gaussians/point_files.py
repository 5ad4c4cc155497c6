"""Points from files that others made: clouds and meshes."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def read_points(path: Path, count: int, generator: torch.Generator) -> Float[Tensor, "N 3"]:
    """`count` points of a point cloud or mesh (PLY, OBJ, GLB), in the file's own world.

    A mesh is sampled evenly over its surface; of a cloud with more points a random part is taken, a smaller one is
    taken whole.

    Raises:
        ValueError: the file is missing, cannot be read, or holds no finite points.
    """
    import trimesh

    if not path.is_file():
        raise ValueError(f"init file {path} must exist, got none. Give a PLY, OBJ or GLB file.")
    try:
        loaded = trimesh.load(path, process=False)
    except Exception as error:  # trimesh's readers raise whatever their formats raise
        raise ValueError(f"init file {path} must be a PLY, OBJ or GLB file, got {error!r}. Export it again.") from error
    geometry = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
    if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        points = np.asarray(trimesh.sample.sample_surface(geometry, count, seed=seed)[0])
    else:
        points = np.asarray(getattr(geometry, "vertices", ()))
        if len(points) > count:
            points = points[torch.randperm(len(points), generator=generator)[:count].numpy()]
    if len(points) == 0:
        raise ValueError(f"init file {path} must hold points, got none. Export it again.")
    if not np.isfinite(points).all():
        raise ValueError(f"init file {path} must hold finite points, got NaN or Inf. Remove those points.")
    return torch.from_numpy(points.astype(np.float32))
