"""Documents of glTF 2.0: the JSON and the buffers of a file, with access that trusts neither."""

import base64
import struct
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float32, Shaped

from ds4d.io.bounded_files import parse_json, read_bytes

_MAX_BYTES = 2**31
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
# Extensions of materials and lights leave the shape and the base color as they are.
_HARMLESS = ("KHR_materials_", "KHR_lights_")


class GltfError(ValueError):
    """A glTF file that cannot be read; the message names it."""


class GltfDocument:
    """The JSON and the buffers of a `.glb` or `.gltf` file.

    Args:
        path: the file. Buffers and images of a `.gltf` are data URIs or files in its folder.

    Raises:
        GltfError: The file is damaged or needs an extension that is not supported.
        ValueError: The path leads to no file, or to an empty or too large one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_bytes(path, max_bytes=_MAX_BYTES)
        binary = content[:4] == b"glTF"
        text, self._chunk = self._chunks(content) if binary else (content, None)
        try:
            self.json = parse_json(text)
        except ValueError as error:
            raise self.broken("the document", "be JSON", error) from error
        if not isinstance(self.json, dict) or str(self.json.get("asset", {}).get("version"))[:2] != "2.":
            raise self.broken("the document", "be glTF 2.0", "another version or none")
        for name in self.json.get("extensionsRequired", []):
            if not name.startswith(_HARMLESS):
                raise self.broken("the document", "need no extension", name, "Export it without compression.")

    def broken(self, what: str, must: str, got: object, fix: str = "Export it again.") -> GltfError:
        """The error that `what` must do something, and what came instead."""
        return GltfError(f"{what} of {self.path} must {must}, got {got}. {fix}")

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, such as "nodes"."""
        return self.json.get(kind, [])

    def item(self, kind: str, index: int) -> dict[str, Any]:
        """The object of a kind at an index."""
        items = self.items(kind)
        if not 0 <= index < len(items):
            raise self.broken(f"an index into {kind}", f"be below {len(items)}", index)
        return items[index]

    def accessor(self, index: int) -> Shaped[np.ndarray, "N C"]:
        """The stored values of an accessor, one row per element; matrices are column-major rows of 16."""
        entry = self.item("accessors", index)
        kind, width, count = _COMPONENTS[entry["componentType"]], _WIDTHS[entry["type"]], entry["count"]
        if "bufferView" in entry:
            rows = self._rows(entry, kind, width, count)
        elif 0 <= count <= sum(map(len, self._buffers)):  # other data of this length lies in the file
            rows = np.broadcast_to(np.zeros((), kind), (count, width))
        else:
            raise self.broken(f"accessor {index} without data", "be no longer than the file", f"{count} elements")
        if (sparse := entry.get("sparse")) is None:
            return rows
        places = self._rows(sparse["indices"], _COMPONENTS[sparse["indices"]["componentType"]], 1, sparse["count"])
        if places.size and not 0 <= places.min() <= places.max() < count:
            got = f"{places.min()} to {places.max()}"
            raise self.broken(f"sparse indices of accessor {index}", f"be below {count}", got)
        rows = np.array(rows)
        rows[places[:, 0]] = self._rows(sparse["values"], kind, width, sparse["count"])
        return rows

    def floats(self, index: int, count: int | None = None, width: int | None = None) -> Float32[np.ndarray, "N C"]:
        """The values of an accessor as numbers; normalized integers become fractions.

        Args:
            index: the accessor.
            count: the number of elements it must have, if any number will not do.
            width: the number of components it must have, likewise.
        """
        rows = self.accessor(index)
        if rows.shape != (want := (count or len(rows), width or rows.shape[1])):
            raise self.broken(f"accessor {index}", "be {} x {}".format(*want), "{} x {}".format(*rows.shape))
        if self.item("accessors", index).get("normalized") and rows.dtype.kind in "iu":
            return np.maximum(rows / np.float32(np.iinfo(rows.dtype).max), -1, dtype=np.float32)
        return rows.astype(np.float32)

    def image(self, index: int) -> bytes:
        """The file content of an image."""
        entry = self.item("images", index)
        return self._resource(entry["uri"]) if "uri" in entry else bytes(self._view(entry["bufferView"]))

    def _rows(self, place: dict[str, Any], kind: str, width: int, count: int) -> Shaped[np.ndarray, "N C"]:
        """A view of `count` elements that start at `byteOffset` of `bufferView`; both are keys of `place`."""
        view, start = self._view(place["bufferView"]), place.get("byteOffset", 0)
        size = width * np.dtype(kind).itemsize
        stride = self.item("bufferViews", place["bufferView"]).get("byteStride", size)
        if count == 0:
            return np.zeros((0, width), kind)
        if min(count, start + 1, stride - size + 1) < 1 or start + (count - 1) * stride + size > len(view):
            claimed = f"{count} elements of {size} bytes, {stride} bytes apart, from byte {start}"
            raise self.broken("an accessor", f"lie in its {len(view)} bytes", claimed)
        return np.ndarray((count, width), kind, view, start, (stride, size // width))

    def _view(self, index: int) -> memoryview:
        entry = self.item("bufferViews", index)
        self.item("buffers", entry["buffer"])
        buffer = self._buffers[entry["buffer"]]
        start, length = entry.get("byteOffset", 0), entry["byteLength"]
        if min(start, length) < 0 or start + length > len(buffer):
            claimed = f"bytes {start} to {start + length}"
            raise self.broken(f"buffer view {index}", f"lie in its buffer of {len(buffer)} bytes", claimed)
        return buffer[start : start + length]

    @cached_property
    def _buffers(self) -> list[memoryview]:
        buffers = []
        for index, entry in enumerate(self.items("buffers")):
            content = self._resource(entry["uri"]) if "uri" in entry else self._chunk
            if content is None or len(content) < entry["byteLength"]:
                got = "none" if content is None else f"{len(content)}"
                raise self.broken(f"buffer {index}", f"have {entry['byteLength']} bytes", got)
            buffers.append(memoryview(content))
        return buffers

    def _chunks(self, content: bytes) -> tuple[bytes, bytes | None]:
        """The JSON and, where there is one, the buffer of a binary file."""
        parts: dict[bytes, bytes] = {}
        position = 12
        while position + 8 <= len(content):
            size, kind = struct.unpack_from("<I4s", content, position)
            if position + 8 + size > len(content):
                break
            parts.setdefault(kind, content[position + 8 : position + 8 + size])
            position += 8 + size
        length = struct.unpack_from("<I", content, 8)[0] if len(content) >= 12 else 12
        if position < length or b"JSON" not in parts:
            raise self.broken("the chunks", f"fill its {length} bytes", f"{position}", "Copy or export it again.")
        return parts[b"JSON"], parts.get(b"BIN\0")

    def _resource(self, uri: str) -> bytes:
        """The content of a data URI, or of a file in the folder of the document."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        folder = self.path.parent.resolve()
        file = (folder / unquote(uri)).resolve()
        if not (file.is_relative_to(folder) and file.is_file()):
            raise self.broken("a resource", "be a file in its folder", uri, "Put it there, or export a .glb file.")
        return read_bytes(file, max_bytes=_MAX_BYTES)
