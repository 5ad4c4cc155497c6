"""Compressed PLY files in the layout of PlayCanvas: 16 bytes per Gaussian, and a byte per coefficient above degree 0.

Neighbors share a chunk of 256, whose record holds the ranges of their centers, logarithmic scales and colors. Each
Gaussian (element `vertex`) is four words of 32 bits:

    packed_position, packed_scale   x, y, z in 11, 10 and 11 bits of the range
    packed_rotation                 2 bits: which of w, x, y, z is largest; the other three in 10 bits each
    packed_color                    red, green, blue in 8 bits of the range, opacity in 8 bits of [0, 1]

and, in the element `sh`, f_rest_* as in a plain PLY, one byte each for [-4, 4].
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt32
from plyfile import PlyData, PlyElement
from torch import Tensor

from ds4d.export.single_frame import check_single_frame
from ds4d.geometry import rgb_to_sh
from ds4d.geometry.spherical_harmonics import SH0
from ds4d.io import atomic_path, read_ply_file
from ds4d.shapes.gaussian_files import byte_logits
from ds4d.types import RawGaussians

CHUNK = 256
_BOUNDS = tuple(
    f"{end}_{name}"
    for names in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
    for end in ("min", "max")
    for name in names
)
_WORDS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_AXIS_BITS, _COLOR_BITS, _QUAT_BITS = (11, 10, 11), (8, 8, 8, 8), (2, 10, 10, 10)
_SCALE_LIMIT = 20.0  # readers clamp logarithmic scales to this
_SH_RANGE = 8.0  # span of a byte, around 0
_MORTON_BITS = 10  # per axis


def write_compressed_ply(raw: RawGaussians, path: str | Path) -> None:
    """Writes the Gaussians of one frame, atomically, sorted along a space-filling curve.

    Args:
        raw: Gaussians without a time axis.
        path: the file (.compressed.ply).

    Raises:
        ValueError: `raw` has a time axis, or holds NaN or infinity.
    """
    raw = _sorted_in_space(check_single_frame(raw, "write_compressed_ply", path))
    rgb = SH0 * raw.sh[:, 0] + 0.5
    means, scales = _Ranged(raw.means), _Ranged(raw.log_scales.clamp(-_SCALE_LIMIT, _SCALE_LIMIT))
    colors = _Ranged(rgb)
    rgba = torch.cat((colors.fractions, raw.opacity_logits.sigmoid()[:, None]), dim=1)
    words = (
        _pack(means.fractions, _AXIS_BITS),
        _pack_quats(raw.quats),
        _pack(scales.fractions, _AXIS_BITS),
        _pack(rgba, _COLOR_BITS),
    )
    bounds = torch.cat((means.low, means.high, scales.low, scales.high, colors.low, colors.high), dim=1)
    elements = [
        PlyElement.describe(_columns(bounds.numpy().astype("<f4"), _BOUNDS), "chunk"),
        PlyElement.describe(_columns(np.stack(words, axis=1).astype("<u4"), _WORDS), "vertex"),
    ]
    if raw.sh.shape[1] > 1:
        rest = (256 * (raw.sh[:, 1:].mT.flatten(1) / _SH_RANGE + 0.5)).floor().clamp(0, 255).to(torch.uint8).numpy()
        elements.append(PlyElement.describe(_columns(rest, _rest_names(rest.shape[1])), "sh"))
    with atomic_path(path) as temporary:
        PlyData(elements, byte_order="<").write(str(temporary))


def read_compressed_ply(path: str | Path) -> RawGaussians:
    """The Gaussians of a compressed PLY file, in the order of the file.

    Raises:
        ValueError: the file is missing, damaged, or a PLY of another kind.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a compressed PLY file, got nothing there. Check the path.")
    try:
        return _unpacked(read_ply_file(path))
    except (KeyError, IndexError, RuntimeError, ValueError) as error:  # elements are missing or of different lengths
        raise ValueError(f"{path} must be a valid compressed PLY file, got one that cannot be read: {error}") from error


def _unpacked(ply: PlyData) -> RawGaussians:
    bounds = _table(ply["chunk"].data, _BOUNDS).view(-1, 6, 3)
    words = [np.asarray(ply["vertex"][name]) for name in _WORDS]
    chunks = torch.arange(len(words[0])) // CHUNK
    low, high = bounds[chunks, 0::2], bounds[chunks, 1::2]  # [N, 3 kinds, 3 axes]
    means, scales = _unpack(words[0], _AXIS_BITS), _unpack(words[2], _AXIS_BITS)
    rgba = _unpack(words[3], _COLOR_BITS)
    ranged = torch.lerp(low, high, torch.stack((means, scales, rgba[:, :3]), dim=1))
    sh = rgb_to_sh(ranged[:, 2])[:, None]
    if "sh" in ply:
        count = len(ply["sh"].properties)
        rest = (_table(ply["sh"].data, _rest_names(count)) + 0.5) / 256 - 0.5
        sh = torch.cat((sh, _SH_RANGE * rest.unflatten(1, (3, count // 3)).mT), dim=1)
    return RawGaussians(
        means=ranged[:, 0],
        quats=_unpack_quats(words[1]),
        log_scales=ranged[:, 1],
        opacity_logits=byte_logits(rgba[:, 3]),
        sh=sh,
    )


class _Ranged:
    """Values [N, 3] as fractions in [0, 1] of the range (`low`, `high`) [C, 3] of their chunk."""

    def __init__(self, values: Float[Tensor, "N 3"]) -> None:
        count = len(values)
        filler = values[-1:].expand(-count % CHUNK, -1)  # pads the last chunk
        chunks = torch.cat((values, filler)).view(-1, CHUNK, 3)
        self.low, self.high = chunks.amin(1), chunks.amax(1)
        extent = (self.high - self.low).clamp_min(1e-12)
        self.fractions = ((chunks - self.low[:, None]) / extent[:, None]).view(-1, 3)[:count]


def _sorted_in_space(raw: RawGaussians) -> RawGaussians:
    """Gaussians sorted along a Morton curve, so that chunks are compact and their ranges small."""
    low, high = raw.means.amin(0), raw.means.amax(0)
    cells = ((raw.means - low) / (high - low).clamp_min(1e-12) * (2**_MORTON_BITS - 1)).long()
    codes = torch.zeros(len(cells), dtype=torch.long)
    for bit in range(_MORTON_BITS):
        for axis in range(3):
            codes |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = codes.argsort(stable=True)
    return RawGaussians(**{name: getattr(raw, name)[order] for name in raw.__dataclass_fields__})


def _pack(fractions: Float[Tensor, "N P"], bits: tuple[int, ...]) -> UInt32[np.ndarray, " N"]:
    """Fractions in [0, 1] packed into one word, the first in the highest bits."""
    word = torch.zeros(len(fractions), dtype=torch.long)
    for column, width in zip(fractions.unbind(1), bits, strict=True):
        part = (column.clamp(0, 1).double() * (2**width - 1)).round().long()
        word = (word << width) | part
    return word.numpy().astype(np.uint32)


def _unpack(words: np.ndarray, bits: tuple[int, ...]) -> Float[Tensor, "N P"]:
    word, parts = torch.from_numpy(words.astype(np.int64)), []
    for width in reversed(bits):
        parts.append((word & (2**width - 1)) / (2**width - 1))
        word = word >> width
    return torch.stack(parts[::-1], dim=1)


def _pack_quats(quats: Float[Tensor, "N 4"]) -> UInt32[np.ndarray, " N"]:
    """Quaternions as the index of the largest component and the other three, which lie within 1 / sqrt(2) of 0."""
    unit = torch.nn.functional.normalize(quats, dim=-1)
    largest = unit.abs().argmax(1)
    unit = unit * torch.where(unit.gather(1, largest[:, None]) < 0, -1.0, 1.0)
    fractions = unit.gather(1, _others(largest)) / 2**0.5 + 0.5
    return _pack(torch.cat((largest[:, None] / 3, fractions), dim=1), _QUAT_BITS)


def _unpack_quats(words: np.ndarray) -> Float[Tensor, "N 4"]:
    parts = _unpack(words, _QUAT_BITS)
    largest, others = (3 * parts[:, 0]).round().long(), (parts[:, 1:] - 0.5) * 2**0.5
    quats = torch.zeros(len(parts), 4).scatter(1, _others(largest), others)
    return quats.scatter(1, largest[:, None], (1 - others.square().sum(1, keepdim=True)).clamp_min(0).sqrt())


def _others(largest: Int[Tensor, " N"]) -> Int[Tensor, "N 3"]:
    """The three indices from 0 to 3 other than `largest`, rising."""
    index = torch.arange(3).expand(len(largest), 3)
    return index + (index >= largest[:, None])


def _columns(table: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """A table [N, C] as records with one field per column."""
    return np.ascontiguousarray(table).view([(name, table.dtype) for name in names])[:, 0]


def _table(records: np.ndarray, names: tuple[str, ...]) -> Float[Tensor, "N C"]:
    return torch.from_numpy(np.stack([records[name].astype(np.float32) for name in names], axis=1))


def _rest_names(count: int) -> tuple[str, ...]:
    return tuple(f"f_rest_{i}" for i in range(count))
