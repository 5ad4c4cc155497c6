"""An animated mesh as binary glTF: its vertices over time are morph targets, played in turn by one animation.

Vertex colors contain the lighting: the material is unlit (KHR_materials_unlit). Programs without that extension light
the mesh once more.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from torch import Tensor

from ds4d.export.glb import GlbFile
from ds4d.export.mesh.texture import Texture
from ds4d.io import png_bytes, to_linear

_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}  # linear, mipmaps, clamped
_SHORT_INDICES = 65535  # vertices that 16 bits count: glTF keeps the largest number free


def write_animated_glb(
    path: str | Path,
    vertices: Float[Tensor, "T P 3"],
    triangles: Int[Tensor, "F 3"],
    colors: Float[Tensor, "P 3"],
    seconds: Float[Tensor, " T"],
    texture: Texture | None = None,
) -> None:
    """Writes a mesh over time, atomically; players interpolate the vertices linearly and hold the last ones.

    Args:
        path: the file (.glb).
        vertices: vertices at each time, +y up; the first ones are the base shape of the mesh.
        triangles: vertex indices of each triangle, counter-clockwise seen from outside.
        colors: sRGB colors of the vertices, in [0, 1].
        seconds: time of each set of vertices in the animation, seconds, rising from 0.
        texture: texture in place of the colors of the vertices.

    Raises:
        ValueError: a vertex is NaN or infinite.
    """
    if not vertices.isfinite().all():
        raise ValueError(f"write_animated_glb: vertices of {path} must be finite, got NaN or infinite values.")
    if texture is not None:
        vertices = vertices[:, texture.origins]
    positions = vertices.detach().cpu().numpy().astype(np.float32)
    file, count = GlbFile(), len(positions) - 1
    content = describe_surface(file, positions[0], triangles, colors, texture)
    mesh = content["meshes"][0]
    if count:
        offsets = positions[1:] - positions[0]
        mesh["primitives"][0]["targets"] = [
            {"POSITION": file.add(offset, "attribute", bounds=True)} for offset in offsets
        ]
        mesh["weights"] = [0.0] * count
        weights = np.concatenate((np.zeros((1, count)), np.eye(count)))
        content["animations"] = [file.add_morph_animation(seconds.cpu().numpy(), weights)]
    file.write(path, content)


def describe_surface(
    file: GlbFile,
    positions: Float32[np.ndarray, "Q 3"],
    triangles: Int[Tensor, "F 3"],
    colors: Float[Tensor, "P 3"],
    texture: Texture | None,
) -> dict[str, Any]:
    """Adds the accessors of a colored surface to a file, and returns a document with it as node 0.

    Args:
        file: the file to write.
        positions: vertices: those of the texture if there is one, else P.
        triangles: vertex indices of each triangle, if there is no texture.
        colors: sRGB colors of the vertices, in [0, 1], if there is no texture.
        texture: texture in place of the colors of the vertices.
    """
    attributes = {"POSITION": file.add(positions, "attribute", bounds=True)}
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    painted: dict[str, Any] = {}
    if texture is None:
        linear = np.rint(65535 * to_linear(colors.cpu().numpy())).astype(np.uint16)
        attributes["COLOR_0"] = file.add(linear, "attribute", normalized=True)
    else:
        triangles = texture.triangles
        attributes["TEXCOORD_0"] = file.add(texture.uvs.numpy().astype(np.float32), "attribute")
        image = {"bufferView": file.add_bytes(png_bytes(texture.image)), "mimeType": "image/png"}
        painted = {"images": [image], "samplers": [_SAMPLER], "textures": [{"source": 0, "sampler": 0}]}
        surface["baseColorTexture"] = {"index": 0}
    indices = np.uint16 if len(positions) <= _SHORT_INDICES else np.uint32
    primitive = {
        "attributes": attributes,
        "indices": file.add(triangles.cpu().numpy().astype(indices).reshape(-1, 1), "indices"),
        "material": 0,
    }
    return {
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": surface, "extensions": {"KHR_materials_unlit": {}}}],
        **painted,
    }
