"""Gaussians to write, and an independent reader of glTF."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ds4d.types import RawGaussians


@pytest.fixture
def random_gaussians(generator: torch.Generator) -> Callable[..., RawGaussians]:
    """Makes random Gaussians of ordinary sizes and colors, of a degree of spherical harmonics."""

    def make(degree: int, count: int = 7) -> RawGaussians:
        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        sh = 0.3 * normal(count, (degree + 1) ** 2, 3)
        return RawGaussians(0.3 * normal(count, 3), normal(count, 4), normal(count, 3) - 4, normal(count), sh)

    return make


@dataclass(frozen=True)
class Gltf:
    """A binary glTF file, read according to the specification."""

    json: dict[str, Any]
    buffer: bytes

    def rows(self, accessor: int) -> np.ndarray:
        """The values of an accessor; normalized integers become fractions."""
        entry = self.json["accessors"][accessor]
        kind = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[entry["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry["type"]]
        view = self.json["bufferViews"][entry["bufferView"]]
        stride = view.get("byteStride", width * np.dtype(kind).itemsize)
        start = view["byteOffset"]
        assert start % 4 == 0 and start + view["byteLength"] <= len(self.buffer)
        rows = [np.frombuffer(self.buffer, kind, width, start + i * stride) for i in range(entry["count"])]
        values = np.stack(rows)
        return values / np.iinfo(values.dtype).max if entry.get("normalized") else values


@pytest.fixture
def read_glb() -> Callable[[Path], Gltf]:
    """Reads a GLB file."""

    def read(path: Path) -> Gltf:
        content = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON" and size % 4 == 0
        second, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0" and 28 + size + second == length
        document = json.loads(content[20 : 20 + size])
        assert document["asset"]["version"] == "2.0" and document["buffers"] == [{"byteLength": second}]
        return Gltf(document, content[28 + size :])

    return read
