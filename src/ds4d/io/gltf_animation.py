"""Nodes and animations of glTF 2.0: where every node is at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from ds4d.io.gltf_document import GltfDocument

_WIDTHS = {"translation": 3, "rotation": 4, "scale": 3}
_RESTS = {"translation": (0.0, 0.0, 0.0), "rotation": (0.0, 0.0, 0.0, 1.0), "scale": (1.0, 1.0, 1.0)}
_SHORT = 1e-9  # seconds; key times that repeat divide nothing by zero


@dataclass(frozen=True)
class RigVariation:
    """What makes another character of the same rig.

    Attributes:
        lengths: factor of the distance of each node from its parent.
        turns: rotation of each node before its own.
        girths: scaling, along the axes of each node, of the surface that moves with it, its children excepted.
    """

    lengths: Float[np.ndarray, "N"]
    turns: Float[np.ndarray, "N 3 3"]
    girths: Float[np.ndarray, "N 3"]


class NodeTree:
    """The nodes of a document, each with a transform relative to its parent.

    Attributes:
        scene: indices of the nodes of the scene that the document shows, parents first.
        names: names of all nodes, empty where they have none.
        parents: the parent of each node, -1 where it has none.

    Raises:
        GltfError: A node has two parents or is its own ancestor.
    """

    def __init__(self, document: GltfDocument) -> None:
        nodes = document.items("nodes")
        self.names = [str(node.get("name", "")) for node in nodes]
        self.parents = np.full(len(nodes), -1)
        for index, node in enumerate(nodes):
            for child in node.get("children", []):
                document.item("nodes", child)
                if self.parents[child] != -1:
                    raise document.broken(f"node {child}", "have one parent", "two")
                self.parents[child] = index
        roots = np.flatnonzero(self.parents == -1).tolist()
        self._levels = _levels(nodes, roots)
        if sum(map(len, self._levels)) < len(nodes):
            raise document.broken("the nodes", "form trees", "a cycle")
        shown = document.item("scenes", document.json.get("scene", 0))["nodes"] if document.items("scenes") else roots
        self.scene = list(dict.fromkeys(index for level in _levels(nodes, shown) for index in level))
        self._rest = {
            part: np.array([node.get(part, rest) for node in nodes], np.float64).reshape(-1, _WIDTHS[part])
            for part, rest in _RESTS.items()
        }
        self._matrices = {
            index: np.array(node["matrix"], np.float64).reshape(4, 4).T
            for index, node in enumerate(nodes)
            if "matrix" in node
        }

    def matrices(
        self,
        moved: dict[tuple[int, str], Float[np.ndarray, "T _"]],
        count: int,
        variation: RigVariation | None = None,
    ) -> Float64[np.ndarray, "T N 4 4"]:
        """World matrices of all nodes at a number of times.

        Args:
            moved: values over these times by node and part ("translation", "rotation", "scale"); others rest.
            count: the number of times T.
            variation: another character of the rig; its girths are not part of these matrices.
        """
        parts = {name: np.repeat(rest[None], count, 0) for name, rest in self._rest.items()}
        for (node, part), values in moved.items():
            parts[part][:, node] = values
        local = _from_parts(**parts)
        for index, matrix in self._matrices.items():
            local[:, index] = matrix
        if variation is not None:
            local[:, :, :3, 3] *= variation.lengths[:, None]
            local[:, :, :3, :3] = local[:, :, :3, :3] @ variation.turns
        for level in self._levels[1:]:
            local[:, level] = local[:, self.parents[level]] @ local[:, level]
        return local


@dataclass(frozen=True)
class Sampler:
    """One animated value.

    Attributes:
        seconds: key times, in order.
        values: one row per key; for CUBICSPLINE three: the incoming tangent, the value, the outgoing tangent.
        method: LINEAR, STEP or CUBICSPLINE.
        turns: whether values are quaternions (xyzw).
    """

    seconds: Float32[np.ndarray, "K"]
    values: Float32[np.ndarray, "K rows C"]
    method: str
    turns: bool

    def at(self, times: Float[np.ndarray, "T"]) -> Float32[np.ndarray, "T C"]:
        """The value at times in seconds; before the first key and after the last, it stays as it is there."""
        after = np.searchsorted(self.seconds, times, "right")
        start, end = (after - 1).clip(0), after.clip(max=len(self.seconds) - 1)
        length = (self.seconds[end] - self.seconds[start])[:, None]
        part = ((times - self.seconds[start])[:, None] / np.maximum(length, _SHORT)).clip(0, 1)
        middle = self.values.shape[1] // 2
        first, second = self.values[start, middle], self.values[end, middle]
        if self.method == "CUBICSPLINE":
            rest, rise = 1 - part, part * (1 - part) * length
            values = (1 + 2 * part) * rest**2 * first + (3 - 2 * part) * part**2 * second
            values = values + rise * (rest * self.values[start, 2] - part * self.values[end, 0])
        elif self.method == "STEP":
            values = first
        else:
            values = _slerp(first, second, part) if self.turns else first + part * (second - first)
        return values.astype(np.float32)


@dataclass(frozen=True)
class Channel:
    """What a sampler moves: `part` ("translation", "rotation", "scale", "weights") of a node."""

    node: int
    part: str
    sampler: Sampler


@dataclass(frozen=True)
class Clip:
    """An animation.

    Attributes:
        name: its name in the file, or its number.
        seconds: its duration, from time 0 to the last key.
        channels: everything it moves.
    """

    name: str
    seconds: float
    channels: tuple[Channel, ...]


def read_clips(document: GltfDocument) -> tuple[Clip, ...]:
    """All animations of a document that move a node."""
    clips = []
    for number, animation in enumerate(document.items("animations")):
        found = [_read_channel(document, animation, channel) for channel in animation["channels"]]
        channels = tuple(channel for channel in found if channel is not None)
        if channels:
            seconds = max(float(channel.sampler.seconds[-1]) for channel in channels)
            clips.append(Clip(animation.get("name", str(number)), seconds, channels))
    return tuple(clips)


def _read_channel(document: GltfDocument, animation: dict[str, Any], channel: dict[str, Any]) -> Channel | None:
    """A channel, or None where it moves nothing that has a shape."""
    node, part = channel["target"].get("node"), channel["target"]["path"]
    if node is None or part not in {*_WIDTHS, "weights"}:
        return None
    if "matrix" in document.item("nodes", node) and part != "weights":
        raise document.broken(f"animated node {node}", "have translation, rotation and scale", "a matrix")
    if not 0 <= channel["sampler"] < len(animation["samplers"]):
        raise document.broken("a channel", "have a sampler", channel["sampler"])
    sampler = animation["samplers"][channel["sampler"]]
    method = sampler.get("interpolation", "LINEAR")
    seconds, values = document.floats(sampler["input"], width=1)[:, 0], document.floats(sampler["output"])
    if not (len(seconds) and np.isfinite(seconds).all() and (np.diff(seconds) >= 0).all() and seconds[0] >= 0):
        raise document.broken("key times", "be seconds in order", f"{seconds[:4]}")
    rows = len(seconds) * (3 if method == "CUBICSPLINE" else 1)
    if method not in {"LINEAR", "STEP", "CUBICSPLINE"} or not len(values) or values.size % rows:
        raise document.broken("an animation", f"have values for its {len(seconds)} keys", f"{len(values)}, {method}")
    values = values.reshape(len(seconds), rows // len(seconds), -1)
    if part in _WIDTHS and values.shape[2] != _WIDTHS[part]:
        raise document.broken(f"an animated {part}", f"have {_WIDTHS[part]} values a key", values.shape[2])
    return Channel(node, part, Sampler(seconds, values, method, turns=part == "rotation"))


def _levels(nodes: list[dict[str, Any]], roots: list[int]) -> list[list[int]]:
    """The nodes below some roots, by their depth; a cycle is never reached from a root without a parent."""
    levels = [roots]
    while levels[-1]:
        levels.append([child for index in levels[-1] for child in nodes[index].get("children", [])])
    return levels[:-1]


def _slerp(
    first: Float[np.ndarray, "T 4"], second: Float[np.ndarray, "T 4"], part: Float[np.ndarray, "T 1"]
) -> Float[np.ndarray, "T 4"]:
    """Spherical interpolation of unit quaternions along the shorter arc."""
    cosine = (first * second).sum(1, keepdims=True)
    second = np.where(cosine < 0, -second, second)
    angle = np.arccos(np.abs(cosine).clip(0, 1))
    sine = np.sin(angle)
    straight = sine < 1e-4  # there the arc is a line, and the weights below would divide by almost zero
    divisor = np.where(straight, 1, sine)
    before = np.where(straight, 1 - part, np.sin((1 - part) * angle) / divisor)
    after = np.where(straight, part, np.sin(part * angle) / divisor)
    return before * first + after * second


def _from_parts(
    translation: Float64[np.ndarray, "T N 3"],
    rotation: Float64[np.ndarray, "T N 4"],
    scale: Float64[np.ndarray, "T N 3"],
) -> Float64[np.ndarray, "T N 4 4"]:
    """Matrices that scale, then rotate (xyzw, of any length), then translate."""
    x, y, z, w = np.moveaxis(rotation / np.linalg.norm(rotation, axis=-1, keepdims=True).clip(1e-12), -1, 0)
    matrices = np.zeros((*translation.shape[:2], 4, 4))
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    matrices[..., :3, :3] = np.moveaxis(np.array(rows), (0, 1), (-2, -1)) * scale[..., None, :]
    matrices[..., :3, 3] = translation
    matrices[..., 3, 3] = 1
    return matrices
