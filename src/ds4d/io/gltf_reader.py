"""Reads glTF 2.0: triangles, moved by nodes, skins and morph targets, with their colors.

Every vertex is a linear function of the world matrices of the nodes that move it, morph targets included. So the shape
at many times is a few products of sparse matrices, which hold the file's vertices and weights, with these matrices.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32
from scipy.sparse import vstack

from ds4d.io.gltf_animation import Clip, NodeTree, RigVariation, read_clips
from ds4d.io.gltf_document import GltfDocument, GltfError
from ds4d.io.gltf_materials import MaterialReader, Surface, Texture
from ds4d.io.gltf_meshes import MeshReader, Primitive

_DAMAGE = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError, struct.error)


def read_gltf(path: str | Path) -> "GltfModel":
    """Reads a `.glb` or `.gltf` file.

    Raises:
        GltfError: The file (a ValueError that names it) is damaged, needs an extension that is not supported, or has no
            triangles, more than 20 million vertices, or some that are not finite.
        OSError: It cannot be opened.
    """
    path = Path(path)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # vertices are checked in the end
            return GltfModel(GltfDocument(path))
    except GltfError:
        raise
    except _DAMAGE as error:
        got = f"{type(error).__name__} ({error})"
        raise GltfError(f"{path} must be a whole glTF 2.0 file, got {got}. Export it again.") from error


@dataclass(frozen=True)
class GltfPart:
    """A part of the mesh with one material.

    Attributes:
        vertices: its vertices among all.
        faces: its triangles among all.
        source: the primitive in the document.
    """

    vertices: slice
    faces: slice
    source: dict[str, Any]


class GltfModel:
    """The triangles of a file's scene as one mesh that moves, in the world of the file: y up, in its units.

    Attributes:
        faces: vertices of each triangle.
        clips: the animations, each with a name and a duration in seconds.
        document: the file.
        parts: the primitives of the file that the mesh consists of, one after the other.
    """

    faces: Int32[np.ndarray, "F 3"]
    clips: tuple[Clip, ...]

    def __init__(self, document: GltfDocument) -> None:
        self.clips = read_clips(document)
        self.document = document
        self._tree = NodeTree(document)
        meshes = MeshReader(document)
        primitives = list(meshes.primitives(self._tree.scene))
        if not sum(len(primitive.faces) for primitive in primitives):
            raise document.broken("the scene", "have triangles", "none", "Export the model with its meshes.")
        self._slot_nodes, self._inverse_binds = meshes.slot_nodes, meshes.inverse_binds
        self._placement = vstack([primitive.placement for primitive in primitives], "csr")
        starts = np.cumsum([0, *(primitive.placement.shape[0] for primitive in primitives)])
        self._targets = [
            (slice(start, start + target.shape[0]), primitive.node, number, target)
            for start, primitive in zip(starts.tolist(), primitives, strict=False)
            for number, target in enumerate(primitive.targets)
        ]
        self._rest_weights = {primitive.node: meshes.weights(primitive.node) for primitive in primitives}
        mirrored = np.linalg.det(self._tree.matrices({}, 1)[0, :, :3, :3]) < 0
        self._surface = _join(document, primitives, starts, mirrored)
        self.faces = self._surface.faces
        ends = np.cumsum([0, *(len(primitive.faces) for primitive in primitives)]).tolist()
        self.parts = tuple(
            GltfPart(slice(*starts[i : i + 2].tolist()), slice(*ends[i : i + 2]), primitive.source)
            for i, primitive in enumerate(primitives)
        )
        if not np.isfinite(self.vertices_at(None, 0.0)).all():
            raise document.broken("the vertices", "be finite", "NaN or infinite ones")

    def vertices_at(self, clip: int | None, time: float) -> Float32[np.ndarray, "V 3"]:
        """All vertices at a time of a clip, in seconds; at rest if the clip is None."""
        return self.vertices_over(clip, np.array([time]))[0]

    @property
    def node_names(self) -> list[str]:
        """Names of all nodes, empty where they have none."""
        return self._tree.names

    @property
    def node_parents(self) -> Int[np.ndarray, "N"]:
        """The parent of each node, -1 where it has none."""
        return self._tree.parents

    def vertices_over(
        self, clip: int | None, times: Float[np.ndarray, "T"], variation: RigVariation | None = None
    ) -> Float32[np.ndarray, "T V 3"]:
        """All vertices at each of several times of a clip, in seconds; at rest if the clip is None.

        Args:
            clip: index of the clip.
            times: times, seconds.
            variation: another character of the same rig.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # a bad key gives vertices that are not finite
            values = {
                (channel.node, channel.part): channel.sampler.at(times)
                for channel in (() if clip is None else self.clips[clip].channels)
            }
            moved = {place: value for place, value in values.items() if place[1] != "weights"}
            world = self._tree.matrices(moved, len(times), variation)[:, self._slot_nodes]
            if variation is not None:
                world[..., :3] *= variation.girths[self._slot_nodes][:, None]
            world = world @ self._inverse_binds
            columns = world[:, :, :3].transpose(1, 3, 0, 2).reshape(4 * len(self._slot_nodes), -1).astype(np.float32)
            vertices = (self._placement @ columns).reshape(-1, len(times), 3)
            for rows, node, number, target in self._targets:
                weights = values.get((node, "weights"), self._rest_weights[node])
                if number < weights.shape[1] and (weight := weights[:, number, None]).any():
                    vertices[rows] += weight * (target @ columns).reshape(-1, len(times), 3)
        return np.ascontiguousarray(vertices.transpose(1, 0, 2))

    def surface_colors(
        self, face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]
    ) -> Float32[np.ndarray, "S 3"]:
        """Linear RGB in [0, 1] at points of faces, without light: base color, and what glows."""
        return self._surface.colors(face_ids, barycentric)

    def visible(self, face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]) -> Bool[np.ndarray, "S"]:
        """Which points of faces are seen: not those below the cutoff of a mask, or blended with almost no alpha."""
        return self._surface.visible(face_ids, barycentric)


def _join(
    document: GltfDocument,
    primitives: Sequence[Primitive],
    starts: Int[np.ndarray, "P1"],
    mirrored: Bool[np.ndarray, "N"],
) -> Surface:
    """One surface of all primitives; those that their node mirrors are turned around, so that they face outwards."""
    materials = MaterialReader(document).all
    faces, face_materials, uvs, emissive_uvs, colors = [], [], [], [], []
    for primitive, start in zip(primitives, starts.tolist(), strict=False):
        material = len(materials) - 1 if primitive.material is None else primitive.material
        if not 0 <= material < len(materials):
            raise document.broken("a material", f"be below {len(materials)}", material)
        turned = primitive.rigid and mirrored[primitive.node]
        faces.append(start + (primitive.faces[:, ::-1] if turned else primitive.faces))
        face_materials.append(np.full(len(primitive.faces), material, np.int32))
        uvs.append(_uvs(primitive, materials[material].texture))
        emissive_uvs.append(_uvs(primitive, materials[material].emissive_texture))
        colors.append(_vertex_colors(primitive))
    return Surface(
        np.concatenate(faces).astype(np.int32),
        np.concatenate(face_materials),
        (np.concatenate(uvs), np.concatenate(emissive_uvs)),
        np.concatenate(colors),
        materials,
    )


def _uvs(primitive: Primitive, texture: Texture | None) -> Float32[np.ndarray, "V 2"]:
    """The texture coordinates that a texture uses; zeros without a texture or coordinates."""
    found = primitive.attributes.get(f"TEXCOORD_{0 if texture is None else texture.coordinates}")
    return np.zeros((primitive.placement.shape[0], 2), np.float32) if found is None else found


def _vertex_colors(primitive: Primitive) -> Float32[np.ndarray, "V 4"]:
    """Linear RGB and alpha of the vertices; white where the file has none."""
    colors = np.ones((primitive.placement.shape[0], 4), np.float32)
    if (found := primitive.attributes.get("COLOR_0")) is not None:
        colors[:, : found.shape[1]] = found
    return colors
