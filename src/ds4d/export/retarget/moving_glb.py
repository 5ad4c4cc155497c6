"""A glTF model with new motion: its triangles, materials and textures, and vertices over time as morph targets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from torch import from_numpy

from ds4d.export.glb import GlbFile
from ds4d.export.mesh.triangles import vertex_normals
from ds4d.io import GltfDocument, GltfModel

_COPIED = ("materials", "textures", "samplers")
_PNG = b"\x89PNG"


def write_moving_glb(
    path: str | Path,
    model: GltfModel,
    rest: Float32[np.ndarray, "V 3"],
    positions: Float32[np.ndarray, "T V 3"],
    seconds: Float32[np.ndarray, "T"],
) -> None:
    """Writes the model, atomically. It has its own shape at rest, and one animation; skins and clips are left out.

    Normals follow the surface where the model has normals: vertices in one place with one normal share the new one, so
    that hard edges stay hard.

    Args:
        path: the file (.glb).
        model: the model.
        rest: its vertices at rest, +y up.
        positions: its vertices at each time, likewise.
        seconds: the times, rising from 0.
    """
    file, document = GlbFile(), model.document
    primitives = []
    for part in model.parts:
        rows, names = part.vertices, part.source["attributes"]
        faces = model.faces[part.faces] - rows.start
        shapes = np.concatenate((rest[None, rows], positions[:, rows]))
        frames = [{"POSITION": shape} for shape in shapes]
        if "NORMAL" in names:
            normals = _normals(shapes, faces, document.floats(names["NORMAL"], len(shapes[0]), 3))
            frames = [frame | {"NORMAL": normal} for frame, normal in zip(frames, normals, strict=True)]
        kept = {name: index for name, index in names.items() if name.startswith(("TEXCOORD_", "COLOR_"))}
        primitive: dict[str, Any] = {
            "attributes": _add_all(file, frames[0]) | {name: _copy(file, document, i) for name, i in kept.items()},
            "indices": file.add(faces.astype(np.uint32).reshape(-1, 1), "indices"),
            "targets": [
                _add_all(file, {name: values - frames[0][name] for name, values in frame.items()})
                for frame in frames[1:]
            ],
        }
        if "material" in part.source:
            primitive["material"] = part.source["material"]
        primitives.append(primitive)
    count = len(positions)
    content = {name: document.json[name] for name in _COPIED if name in document.json}
    if images := document.items("images"):
        content["images"] = [_image(file, document, index) for index in range(len(images))]
    text = json.dumps(content)
    for key in ("extensionsUsed", "extensionsRequired"):
        if used := [name for name in document.json.get(key, []) if f'"{name}"' in text]:
            content[key] = used
    asset = {key: document.json["asset"][key] for key in ("copyright",) if key in document.json["asset"]}
    file.write(
        path,
        {
            "asset": {"version": "2.0", "generator": "ds4d", **asset},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "object"}],
            "meshes": [{"primitives": primitives, "weights": [0.0] * count}],
            "animations": [file.add_morph_animation(seconds, np.eye(count))],
            **content,
        },
    )


def _add_all(file: GlbFile, values: dict[str, Float32[np.ndarray, "V 3"]]) -> dict[str, int]:
    return {
        name: file.add(np.ascontiguousarray(rows, np.float32), "attribute", bounds=name == "POSITION")
        for name, rows in values.items()
    }


def _copy(file: GlbFile, document: GltfDocument, index: int) -> int:
    """An accessor of the document as it is, in its own type."""
    normalized = bool(document.item("accessors", index).get("normalized"))
    return file.add(np.array(document.accessor(index)), "attribute", normalized=normalized)


def _image(file: GlbFile, document: GltfDocument, index: int) -> dict[str, Any]:
    content, entry = document.image(index), document.item("images", index)
    kind = entry.get("mimeType", "image/png" if content.startswith(_PNG) else "image/jpeg")
    named = {"name": entry["name"]} if "name" in entry else {}
    return {"bufferView": file.add_bytes(content), "mimeType": kind, **named}


def _normals(
    shapes: Float32[np.ndarray, "T V 3"], faces: Int[np.ndarray, "F 3"], given: Float32[np.ndarray, "V 3"]
) -> list[Float32[np.ndarray, "V 3"]]:
    """Unit normals of each shape; the first shape and the given normals tell which vertices share one."""
    _, first, groups = np.unique(
        np.concatenate((shapes[0], given), axis=1), axis=0, return_index=True, return_inverse=True
    )
    groups = groups.reshape(-1)  # numpy 2.0 gives it another shape
    corners = from_numpy(groups[faces].astype(np.int64))
    normals = []
    for shape in shapes:
        found = vertex_normals(from_numpy(np.ascontiguousarray(shape[first])), corners).numpy()
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        found = np.where(lengths > 0.5, found / np.maximum(lengths, 1e-6), np.array([0, 1, 0], np.float32))
        normals.append(found[groups].astype(np.float32))
    return normals
