"""An animated mesh as binary glTF: its vertices over time are morph targets, played in turn by one animation.

Vertex colors contain the lighting: the material is unlit (KHR_materials_unlit). Programs without that extension light
the mesh once more.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.export.glb import GlbFile
from ds4d.export.mesh.animated_mesh import RESOLUTION, animate_mesh
from ds4d.export.mesh.texture import Texture
from ds4d.geometry import UpAxis, inverse_similarity, set_up_axis, transform_points
from ds4d.io import png_bytes, to_linear
from ds4d.rendering import renderer_for
from ds4d.scene import Scene

_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}  # linear, mipmaps, clamped


def write_mesh(
    scene: Scene,
    path: str | Path,
    times: Float[Tensor, " T"],
    *,
    up: UpAxis | None = "y",
    resolution: int = RESOLUTION,
    texture: int | None = None,
) -> None:
    """Writes a scene as an animated mesh, atomically.

    Args:
        scene: the scene to write.
        path: the file (.glb).
        times: times of the morph targets, in [0, 1], rising. They are played at the speed of the video.
        up: up axis of the output world; None keeps that of the input.
        resolution: number of grid cells along the object, in [8, 512].
        texture: height and width of a texture in pixels, in [64, 8192]; None for colors of vertices.

    Raises:
        ValueError: the resolution or the texture is out of range, or the Gaussians cover nothing.
        ImportError: there shall be a texture and xatlas is not installed.
    """
    mesh = animate_mesh(scene, renderer_for(scene.device), times, resolution, texture)
    to_output = inverse_similarity(set_up_axis(scene.world, up))
    seconds = (mesh.times - mesh.times[0]) * scene.timeline.duration
    vertices = transform_points(to_output, mesh.vertices)
    write_animated_glb(path, vertices, mesh.triangles, mesh.colors, seconds, mesh.texture)


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
        vertices, triangles = vertices[:, texture.origins], texture.triangles
    positions = vertices.detach().cpu().numpy().astype(np.float32)
    file, count = GlbFile(), len(positions) - 1
    attributes = {"POSITION": file.add(positions[0], "attribute", bounds=True)}
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    painted: dict[str, Any] = {}
    if texture is None:
        linear = np.rint(65535 * to_linear(colors.cpu().numpy())).astype(np.uint16)
        attributes["COLOR_0"] = file.add(linear, "attribute", normalized=True)
    else:
        attributes["TEXCOORD_0"] = file.add(texture.uvs.numpy().astype(np.float32), "attribute")
        image = {"bufferView": file.add_bytes(png_bytes(texture.image)), "mimeType": "image/png"}
        painted = {"images": [image], "samplers": [_SAMPLER], "textures": [{"source": 0, "sampler": 0}]}
        surface["baseColorTexture"] = {"index": 0}
    primitive: dict[str, Any] = {
        "attributes": attributes,
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
            {"pbrMetallicRoughness": surface, "extensions": {"KHR_materials_unlit": {}}},
        ],
        **painted,
    }
    if count:
        offsets = positions[1:] - positions[0]
        primitive["targets"] = [{"POSITION": file.add(offset, "attribute", bounds=True)} for offset in offsets]
        mesh["weights"] = [0.0] * count
        weights = np.concatenate((np.zeros((1, count)), np.eye(count)))
        content["animations"] = [file.add_morph_animation(seconds.cpu().numpy(), weights)]
    file.write(path, content)
