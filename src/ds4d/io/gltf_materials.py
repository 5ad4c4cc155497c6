"""Materials of glTF 2.0: the color of a surface without light."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, UInt8
from PIL import Image

from ds4d.io.gltf_document import GltfDocument
from ds4d.io.srgb import to_linear

_LINEAR = to_linear(np.arange(256) / 255)
_CLAMP, _MIRROR, _NEAREST = 33071, 33648, 9728
_MAX_PIXELS = 2**26
_CLEAR = 0.1  # alpha of a blended material below which nothing is to be seen
_FAR = 1e6  # beyond this, texture coordinates have no fraction left


@dataclass(frozen=True)
class Texture:
    """An image on a surface.

    Attributes:
        pixels: sRGB color and straight alpha, the first row at v = 0.
        wraps: WebGL's codes of how the image goes on beyond its left and right, and its upper and lower border.
        smooth: whether values between pixels are interpolated.
        coordinates: which of a vertex's texture coordinates it uses.
    """

    pixels: UInt8[np.ndarray, "H W 4"]
    wraps: tuple[int, int]
    smooth: bool
    coordinates: int

    def at(self, uvs: Float32[np.ndarray, "S 2"]) -> Float32[np.ndarray, "S 4"]:
        """Linear color and alpha at texture coordinates."""
        height, width = self.pixels.shape[:2]
        places = np.nan_to_num(uvs.astype(np.float64)).clip(-_FAR, _FAR) * (width, height)
        if not self.smooth:
            return self._pixels(np.floor(places).astype(np.int64))
        corner = np.floor(places - 0.5).astype(np.int64)
        right, down = (places - 0.5 - corner).astype(np.float32).T[..., None]
        corners = [self._pixels(corner + np.array(step)) for step in ((0, 0), (1, 0), (0, 1), (1, 1))]
        upper, lower = ((1 - right) * corners[row] + right * corners[row + 1] for row in (0, 2))
        return (1 - down) * upper + down * lower

    def _pixels(self, places: Int[np.ndarray, "S 2"]) -> Float32[np.ndarray, "S 4"]:
        """Linear color and alpha of pixels (column, row) of the endless image."""
        columns, rows = (
            _wrapped(index, size, wrap)
            for index, size, wrap in zip(places.T, self.pixels.shape[1::-1], self.wraps, strict=True)
        )
        values = self.pixels[rows, columns]
        return np.concatenate((_LINEAR[values[:, :3]], values[:, 3:] / np.float32(255)), 1)


@dataclass(frozen=True)
class Material:
    """How a surface looks without light.

    Attributes:
        color: linear RGB and alpha that the texture and the vertex colors are multiplied by.
        texture: its base color.
        emission: linear RGB that is added, times the emissive texture.
        emissive_texture: where and in which color it glows.
        alpha_mode: OPAQUE, MASK or BLEND.
        cutoff: alpha from which a masked surface is visible.
    """

    color: Float32[np.ndarray, "4"]
    texture: Texture | None
    emission: Float32[np.ndarray, "3"]
    emissive_texture: Texture | None
    alpha_mode: str
    cutoff: float


@dataclass(frozen=True)
class Surface:
    """Triangles and what is painted on them.

    Attributes:
        faces: vertices of each triangle.
        face_materials: indices into `materials`.
        uvs: texture coordinates of each vertex: for the base color, for the emissive texture.
        vertex_colors: linear RGB and alpha of each vertex.
        materials: all materials.
    """

    faces: Int32[np.ndarray, "F 3"]
    face_materials: Int32[np.ndarray, "F"]
    uvs: tuple[Float32[np.ndarray, "V 2"], Float32[np.ndarray, "V 2"]]
    vertex_colors: Float32[np.ndarray, "V 4"]
    materials: tuple[Material, ...]

    def colors(
        self, face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]
    ) -> Float32[np.ndarray, "S 3"]:
        """Linear RGB in [0, 1] at points of faces: texture, vertex color and factor, and what glows."""
        colors = np.zeros((len(face_ids), 3), np.float32)
        for material, chosen in self._by_material(face_ids):
            place = face_ids[chosen], barycentric[chosen]
            glow = np.broadcast_to(material.emission, (len(place[0]), 3))
            if material.emissive_texture is not None and glow.any():
                glow = glow * material.emissive_texture.at(self._interpolated(self.uvs[1], *place))[:, :3]
            colors[chosen] = self._base(material, *place)[:, :3] + glow
        return np.nan_to_num(colors).clip(0, 1)

    def visible(self, face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]) -> Bool[np.ndarray, "S"]:
        """Which points of faces are seen: not those below the cutoff of a mask, or blended with almost no alpha."""
        visible = np.ones(len(face_ids), np.bool_)
        for material, chosen in self._by_material(face_ids):
            if material.alpha_mode != "OPAQUE":
                alpha = self._base(material, face_ids[chosen], barycentric[chosen])[:, 3]
                visible[chosen] = alpha >= (material.cutoff if material.alpha_mode == "MASK" else _CLEAR)
        return visible

    def _by_material(self, face_ids: Int[np.ndarray, "S"]) -> list[tuple[Material, Int[np.ndarray, "_"]]]:
        """Each material that the faces have, with the places of its faces."""
        materials = self.face_materials[face_ids]
        order = np.argsort(materials, kind="stable")
        used, starts = np.unique(materials[order], return_index=True)
        parts = np.split(order, starts[1:])
        return [(self.materials[index], part) for index, part in zip(used, parts, strict=True)]

    def _base(
        self, material: Material, face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]
    ) -> Float32[np.ndarray, "S 4"]:
        """Base color and alpha."""
        values = self._interpolated(self.vertex_colors, face_ids, barycentric)
        if material.texture is not None:
            values = values * material.texture.at(self._interpolated(self.uvs[0], face_ids, barycentric))
        with np.errstate(over="ignore", invalid="ignore"):
            return material.color * values

    def _interpolated(
        self, values: Float32[np.ndarray, "V C"], face_ids: Int[np.ndarray, "S"], barycentric: Float[np.ndarray, "S 3"]
    ) -> Float32[np.ndarray, "S C"]:
        return np.einsum("sk,skc->sc", barycentric.astype(np.float32), values[self.faces[face_ids]])


class MaterialReader:
    """Reads the materials of a document; each image is decoded once."""

    def __init__(self, document: GltfDocument) -> None:
        self._document = document
        self._images: dict[int, UInt8[np.ndarray, "H W 4"]] = {}

    @cached_property
    def all(self) -> tuple[Material, ...]:
        """All materials in the order of the document, then the one of primitives without a material."""
        return tuple(self._material(entry) for entry in [*self._document.items("materials"), {}])

    def _material(self, entry: dict[str, Any]) -> Material:
        surface = entry.get("pbrMetallicRoughness", {})
        return Material(
            np.array(surface.get("baseColorFactor", (1, 1, 1, 1)), np.float32),
            self._texture(surface.get("baseColorTexture")),
            np.array(entry.get("emissiveFactor", (0, 0, 0)), np.float32),
            self._texture(entry.get("emissiveTexture")),
            entry.get("alphaMode", "OPAQUE"),
            float(entry.get("alphaCutoff", 0.5)),
        )

    def _texture(self, use: dict[str, Any] | None) -> Texture | None:
        if use is None:
            return None
        texture = self._document.item("textures", use["index"])
        sampler = self._document.item("samplers", texture["sampler"]) if "sampler" in texture else {}
        if "source" not in texture:
            raise self._document.broken(f"texture {use['index']}", "be a PNG or JPEG image", "another kind")
        wraps = sampler.get("wrapS", 0), sampler.get("wrapT", 0)
        return Texture(
            self._image(texture["source"]), wraps, sampler.get("magFilter") != _NEAREST, use.get("texCoord", 0)
        )

    def _image(self, index: int) -> UInt8[np.ndarray, "H W 4"]:
        if index not in self._images:
            try:
                with Image.open(BytesIO(self._document.image(index))) as image:
                    if image.width * image.height > _MAX_PIXELS:
                        raise ValueError(f"{image.width} x {image.height} pixels")
                    self._images[index] = np.array(image.convert("RGBA"))
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                must = f"be a whole image of at most {_MAX_PIXELS} pixels"
                raise self._document.broken(f"image {index}", must, error) from error
        return self._images[index]


def _wrapped(index: Int[np.ndarray, "S"], size: int, wrap: int) -> Int[np.ndarray, "S"]:
    """Indices beyond the ends, brought back; REPEAT where nothing else is said."""
    if wrap == _CLAMP:
        return index.clip(0, size - 1)
    if wrap == _MIRROR:
        return np.minimum(index % (2 * size), 2 * size - 1 - index % (2 * size))
    return index % size
