"""Meshes and skins of glTF 2.0: what each triangle is, and which nodes move its vertices."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64
from scipy.sparse import csr_array

from ds4d.io.gltf_document import GltfDocument

_MAX_COUNT = 20_000_000  # of vertices with those of morph targets, and of triangles
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


@dataclass(frozen=True)
class Primitive:
    """One material's part of a mesh at one node of the scene.

    A row of its placement, times the stacked columns of the matrices of all slots, is a vertex in the world. A slot is
    a joint of a skin, or a node that moves its mesh rigidly.

    Attributes:
        node: the node that shows it.
        rigid: whether that node moves it, and not a skin.
        faces: its triangles, which count its own vertices.
        material: index of the material, or None.
        placement: from matrices to vertices.
        targets: for each morph target, from matrices to the displacements of all vertices.
        attributes: values of the vertices by their name in the file, such as TEXCOORD_0.
        source: the object in the file.
    """

    node: int
    rigid: bool
    faces: Int64[np.ndarray, "F 3"]
    material: int | None
    placement: csr_array
    targets: list[csr_array]
    attributes: dict[str, Float32[np.ndarray, "V _"]]
    source: dict[str, Any]


class MeshReader:
    """Reads the meshes of a document.

    Attributes:
        slot_nodes: the node of each slot: first every node for itself, then the joints of all skins.
        inverse_binds: the matrix from the mesh to each slot's node.
    """

    def __init__(self, document: GltfDocument) -> None:
        self._document = document
        nodes = len(document.items("nodes"))
        self._skin_slots: list[range] = []
        slot_nodes, inverse_binds = list(range(nodes)), [np.tile(np.eye(4), (nodes, 1, 1))]
        for skin in document.items("skins"):
            joints = skin["joints"]
            for joint in joints:
                document.item("nodes", joint)
            self._skin_slots.append(range(len(slot_nodes), len(slot_nodes) + len(joints)))
            slot_nodes += joints
            inverse_binds.append(self._inverse_binds(skin, len(joints)))
        self.slot_nodes: Int64[np.ndarray, "J"] = np.array(slot_nodes, np.int64)
        self.inverse_binds: Float64[np.ndarray, "J 4 4"] = np.concatenate(inverse_binds)

    def primitives(self, scene: list[int]) -> Iterator[Primitive]:
        """All primitives with triangles at the nodes of a scene, after a check of how many vertices they claim."""
        shown = [
            (node, primitive)
            for node in scene
            if "mesh" in self._document.item("nodes", node)
            for primitive in self._mesh(node)["primitives"]
            if primitive.get("mode", _TRIANGLES) >= _TRIANGLES and "POSITION" in primitive["attributes"]
        ]
        shapes = [shape for _, primitive in shown for shape in (primitive["attributes"], *primitive.get("targets", []))]
        for what, accessors, most in (
            ("vertices and morph targets", [shape["POSITION"] for shape in shapes if "POSITION" in shape], _MAX_COUNT),
            ("corners", [primitive["indices"] for _, primitive in shown if "indices" in primitive], 3 * _MAX_COUNT),
        ):
            count = sum(self._document.item("accessors", index)["count"] for index in accessors)
            if count > most:
                raise self._document.broken(f"the {what}", f"be at most {most}", count, "Simplify the model.")
        for node, primitive in shown:
            yield self._primitive(node, primitive)

    def weights(self, node: int) -> Float32[np.ndarray, "1 M"]:
        """The weights of the morph targets at a node at rest; none where they are zero."""
        weights = self._document.item("nodes", node).get("weights") or self._mesh(node).get("weights", [])
        return np.array([weights], np.float32)

    def _mesh(self, node: int) -> dict[str, Any]:
        return self._document.item("meshes", self._document.item("nodes", node)["mesh"])

    def _inverse_binds(self, skin: dict[str, Any], count: int) -> Float64[np.ndarray, "J 4 4"]:
        if "inverseBindMatrices" not in skin:
            return np.tile(np.eye(4), (count, 1, 1))
        columns = self._document.floats(skin["inverseBindMatrices"], count, 16)
        return columns.reshape(count, 4, 4).transpose(0, 2, 1).astype(np.float64)

    def _primitive(self, node: int, primitive: dict[str, Any]) -> Primitive:
        names = primitive["attributes"]
        points = self._document.floats(names["POSITION"], width=3)
        count = len(points)
        rigid = "skin" not in self._document.item("nodes", node) or "JOINTS_0" not in names
        influences = (
            (np.full((count, 1), node), np.ones((count, 1), np.float32)) if rigid else self._joints(node, names, count)
        )
        moves = [
            self._document.floats(target["POSITION"], count, 3) if "POSITION" in target else np.zeros_like(points)
            for target in primitive.get("targets", [])
        ]
        return Primitive(
            node,
            rigid,
            self._faces(primitive, count),
            primitive.get("material"),
            _placement(points, 1.0, *influences, len(self.slot_nodes)),
            [_placement(move, 0.0, *influences, len(self.slot_nodes)) for move in moves],
            {
                name: self._document.floats(index, count, 2 if name.startswith("TEXCOORD_") else None)
                for name, index in names.items()
                if name.startswith(("TEXCOORD_", "COLOR_0"))
            },
            primitive,
        )

    def _faces(self, primitive: dict[str, Any], count: int) -> Int64[np.ndarray, "F 3"]:
        """Triangles, from lists, strips and fans."""
        indices = np.arange(count)
        if "indices" in primitive:
            indices = self._document.accessor(primitive["indices"])[:, 0].astype(np.int64)
            if indices.size and not 0 <= indices.min() <= indices.max() < count:
                got = f"{indices.min()} to {indices.max()}"
                raise self._document.broken("indices of a mesh", f"be below its {count} vertices", got)
        mode = primitive.get("mode", _TRIANGLES)
        if mode == _TRIANGLES:
            return indices[: len(indices) // 3 * 3].reshape(-1, 3)
        first = np.arange(max(len(indices) - 2, 0))
        if mode == _FAN:
            return np.stack((indices[first + 1], indices[first + 2], np.full_like(first, indices[:1].sum())), 1)
        odd = first % 2  # every other triangle of a strip is turned around
        return np.stack((indices[first], indices[first + 1 + odd], indices[first + 2 - odd]), 1)

    def _joints(
        self, node: int, names: dict[str, int], count: int
    ) -> tuple[Int64[np.ndarray, "V K"], Float32[np.ndarray, "V K"]]:
        """The joints (as slots) that move each vertex of a skin, and their weights, which sum to 1."""
        skin = self._document.item("nodes", node)["skin"]
        self._document.item("skins", skin)
        slots = self._skin_slots[skin]
        sets = [name.removeprefix("JOINTS_") for name in names if name.startswith("JOINTS_")]
        weights = np.concatenate([self._document.floats(names[f"WEIGHTS_{name}"], count, 4) for name in sets], 1)
        joints = np.concatenate([self._document.accessor(names[f"JOINTS_{name}"]) for name in sets], 1).astype(np.int64)
        if joints.shape != weights.shape:
            raise self._document.broken(f"joints of skin {skin}", f"be {weights.shape}", joints.shape)
        joints[weights == 0] = 0  # such entries may be anything
        if joints.size and not 0 <= joints.min() <= joints.max() < len(slots):
            got = f"{joints.min()} to {joints.max()}"
            raise self._document.broken(f"joints of skin {skin}", f"be below {len(slots)}", got)
        total = weights.sum(1, keepdims=True)
        weights[:, :1] += total == 0  # a vertex without weights follows the first joint
        return joints + slots.start, weights / np.where(total == 0, 1, total)


def _placement(
    points: Float32[np.ndarray, "V 3"],
    last: float,
    slots: Int[np.ndarray, "V K"],
    weights: Float32[np.ndarray, "V K"],
    num_slots: int,
) -> csr_array:
    """The matrix from the columns of the slots' matrices to weighted sums of points (last 1) or vectors (last 0)."""
    rows = np.concatenate((points, np.full((len(points), 1), last, np.float32)), 1)
    values = weights[:, :, None] * rows[:, None]
    columns = 4 * slots[:, :, None] + np.arange(4)
    ends = np.arange(len(points) + 1) * (4 * slots.shape[1])
    matrix = csr_array((values.ravel(), columns.ravel(), ends), shape=(len(points), 4 * num_slots))
    matrix.eliminate_zeros()
    return matrix
