"""Binary glTF 2.0 (GLB): a JSON chunk and one buffer."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from ds4d.io import atomic_path

_COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_TARGETS = {"attribute": 34962, "indices": 34963}


class GlbFile:
    """The buffer and accessors of a GLB file, collected by `add` and written by `write`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(
        self,
        values: Shaped[np.ndarray, "N C"],
        use: str | None = None,
        *,
        normalized: bool = False,
        bounds: bool = False,
    ) -> int:
        """Adds an accessor and returns its index.

        Args:
            values: one row per element, of a component type of glTF; rows of one value are scalars.
            use: "attribute" for vertex attributes, "indices", or None for data that is not uploaded to the GPU.
            normalized: whether integers stand for [0, 1] or [-1, 1].
            bounds: whether to add the minimum and maximum, which glTF requires for positions and key times.
        """
        rows = _padded_to_words(values) if use == "attribute" else np.ascontiguousarray(values)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": rows.nbytes}
        if use is not None:
            view["target"] = _TARGETS[use]
        if rows.shape != values.shape:
            view["byteStride"] = rows.shape[1] * rows.itemsize
        self._buffer += rows.astype(rows.dtype.newbyteorder("<")).tobytes()
        self._buffer += bytes(-len(self._buffer) % 4)
        self._views.append(view)
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": _COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": _KINDS[values.shape[1]],
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def add_bytes(self, content: bytes) -> int:
        """Adds the content of another file, such as an image, and returns the index of its buffer view."""
        self._views.append({"buffer": 0, "byteOffset": len(self._buffer), "byteLength": len(content)})
        self._buffer += content
        self._buffer += bytes(-len(self._buffer) % 4)
        return len(self._views) - 1

    def add_morph_animation(
        self, seconds: Float[np.ndarray, " T"], weights: Float[np.ndarray, "T M"]
    ) -> dict[str, Any]:
        """Adds the accessors of an animation of the morph targets of node 0, and returns the animation.

        Args:
            seconds: time of each key, rising from 0.
            weights: weights of the morph targets at each key; players interpolate them linearly.
        """
        sampler = {
            "input": self.add(seconds.astype(np.float32)[:, None], bounds=True),
            "output": self.add(weights.astype(np.float32).reshape(-1, 1)),
            "interpolation": "LINEAR",
        }
        channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
        return {"name": "motion", "samplers": [sampler], "channels": [channel]}

    def write(self, path: str | Path, content: dict[str, Any]) -> None:
        """Writes the file, atomically.

        Args:
            path: the file (.glb).
            content: the glTF document without `asset`, `buffers`, `bufferViews` and `accessors`.
        """
        document = {
            "asset": {"version": "2.0", "generator": "ds4d"},
            **content,
            "buffers": [{"byteLength": len(self._buffer)}],
            "bufferViews": self._views,
            "accessors": self._accessors,
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        parts = b"".join(
            (struct.pack("<I4s", len(part), kind) + part)
            for kind, part in ((b"JSON", text), (b"BIN\0", bytes(self._buffer)))
        )
        with atomic_path(path) as temporary:
            temporary.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts)


def _padded_to_words(values: np.ndarray) -> np.ndarray:
    """Rows padded to a multiple of four bytes, as glTF requires for vertex attributes."""
    extra = (-values.shape[1] * values.itemsize % 4) // values.itemsize
    return np.pad(values, ((0, 0), (0, extra)))
