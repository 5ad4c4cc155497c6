"""A mesh over time as binary glTF: its places are morph targets, played one after the other by one animation.

Colors stand at the vertices, with their light: the material is unlit (KHR_materials_unlit), and programs that do not
know it light the mesh.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.export.glb import GlbFile, to_linear


def write_animated_glb(
    path: str | Path,
    vertices: Float[Tensor, "T P 3"],
    triangles: Int[Tensor, "F 3"],
    colors: Float[Tensor, "P 3"],
    seconds: Float[Tensor, " T"],
) -> None:
    """Writes the mesh, whole or not at all; between two times places are blended, and the last one stays.

    Args:
        path: of the file (.glb).
        vertices: places at each time; the first is the mesh's own shape. +y up.
        triangles: rows of vertices, counter-clockwise from outside.
        colors: of the vertices, sRGB in [0, 1].
        seconds: when each place is reached, rising from 0.

    Raises:
        ValueError: a place is NaN or infinite.
    """
    if not vertices.isfinite().all():
        raise ValueError(f"write_animated_glb: vertices of {path} must be finite, got NaN or Inf.")
    places = vertices.detach().cpu().numpy().astype(np.float32)
    linear = np.rint(65535 * to_linear(colors.cpu().numpy())).astype(np.uint16)
    file, count = GlbFile(), len(places) - 1
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": file.add(places[0], "attribute", bounds=True),
            "COLOR_0": file.add(linear, "attribute", normalized=True),
        },
        "indices": file.add(triangles.cpu().numpy().astype(np.uint32).reshape(-1, 1), "indices"),
        "material": 0,
    }
    mesh: dict[str, Any] = {"primitives": [primitive]}
    content: dict[str, Any] = {
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [mesh],
        "materials": [
            {
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
    }
    if count:
        shifts = places[1:] - places[0]
        primitive["targets"] = [{"POSITION": file.add(shift, "attribute", bounds=True)} for shift in shifts]
        mesh["weights"] = [0.0] * count
        weights = np.concatenate((np.zeros((1, count)), np.eye(count))).astype(np.float32)
        sampler = {
            "input": file.add(seconds.cpu().numpy().astype(np.float32)[:, None], bounds=True),
            "output": file.add(weights.reshape(-1, 1)),
            "interpolation": "LINEAR",
        }
        channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
        content["animations"] = [{"name": "clip", "samplers": [sampler], "channels": [channel]}]
    file.write(path, content)
