"""Reads Gaussians from files: PLY in the layout of 3D Gaussian Splatting, and .splat.

PLY, per vertex, with raw (unactivated) values: x y z, nx ny nz, f_dc_* and f_rest_* (spherical harmonics; f_rest
channel by channel, K - 1 bases each), opacity (logit), scale_* (logarithms), rot_* (wxyz).

.splat, per Gaussian: center and standard deviations (3 float32 each), red, green, blue and opacity (a byte each),
quaternion wxyz (a byte each, 128 + 128 q).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import rgb_to_sh
from ds4d.io import read_bytes, read_ply_file
from ds4d.types import RawGaussians

MEANS = ("x", "y", "z")
SH0 = tuple(f"f_dc_{i}" for i in range(3))
SCALES = tuple(f"scale_{i}" for i in range(3))
QUATS = tuple(f"rot_{i}" for i in range(4))
SPLAT_RECORD: Any = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])

_MAX_SPLAT_BYTES = 2**31
_MIN_OPACITY = 1 / 510  # of the byte 0


def read_ply(path: str | Path) -> RawGaussians:
    """The Gaussians of a PLY file, bit by bit what `write_ply` wrote with its defaults.

    Raises:
        ValueError: the file is missing, damaged, holds no Gaussians (but a mesh or a point cloud), or NaN or infinity.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a PLY file, got nothing there. Check the path.")
    ply = read_ply_file(path)
    if "vertex" not in ply:
        raise ValueError(f"{path} must have the element vertex, got {[e.name for e in ply.elements]}.")
    vertices = ply["vertex"]
    rest = rest_names(_count_bases([p.name for p in vertices.properties], path))

    def read(names: tuple[str, ...]) -> Float[Tensor, "N C"]:
        columns = [np.asarray(vertices[name], np.float32) for name in names]
        return torch.from_numpy(np.stack(columns, axis=1) if columns else np.zeros((vertices.count, 0), np.float32))

    raw = RawGaussians(
        means=read(MEANS),
        quats=read(QUATS),
        log_scales=read(SCALES),
        opacity_logits=read(("opacity",))[:, 0],
        sh=torch.cat((read(SH0)[:, None], read(rest).unflatten(1, (3, len(rest) // 3)).mT), dim=1),
    )
    check_finite(raw, str(path))
    return raw


def read_splat(path: str | Path) -> RawGaussians:
    """The Gaussians of a .splat file, with colors of degree 0, in the order of the file.

    Raises:
        ValueError: the file is missing, or its length is not a multiple of 32 bytes.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a .splat file, got nothing there. Check the path.")
    content = read_bytes(path, max_bytes=_MAX_SPLAT_BYTES)
    if len(content) % SPLAT_RECORD.itemsize:
        raise ValueError(f"{path} must hold whole records of {SPLAT_RECORD.itemsize} bytes, got {len(content)} bytes.")
    records = np.frombuffer(content, SPLAT_RECORD)
    rgba = torch.from_numpy(records["rgba"].astype(np.float32)) / 255
    return RawGaussians(
        means=torch.from_numpy(records["mean"].copy()),
        quats=torch.from_numpy((records["quat"].astype(np.float32) - 128) / 128),
        log_scales=torch.from_numpy(records["scale"].copy()).log(),
        opacity_logits=byte_logits(rgba[:, 3]),
        sh=rgb_to_sh(rgba[:, None, :3]),
    )


def rest_names(bases: int) -> tuple[str, ...]:
    """Names of the properties of the spherical harmonics above degree 0, for K bases."""
    return tuple(f"f_rest_{i}" for i in range(3 * (bases - 1)))


def check_finite(raw: RawGaussians, where: str) -> None:
    """Refuses NaN and infinity and names the parameter that has them.

    Raises:
        ValueError: a value is not finite.
    """
    for name in raw.__dataclass_fields__:
        bad = int((~getattr(raw, name).isfinite()).sum())
        if bad:
            raise ValueError(f"{where}: {name} must be finite, got {bad} values that are NaN or infinite.")


def byte_logits(opacities: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
    """Finite logits of opacities that were rounded to bytes, 0 and 1 included."""
    return opacities.clamp(_MIN_OPACITY, 1 - _MIN_OPACITY).logit()


def _count_bases(names: list[str], path: str | Path) -> int:
    """The number of bases K in a file with these properties."""
    missing = [name for name in (*MEANS, *SH0, "opacity", *SCALES, *QUATS) if name not in names]
    if missing:
        raise ValueError(
            f"{path} must have the properties of 3D Gaussians, got none named {', '.join(missing)}. "
            "Meshes, point clouds and compressed splats are not read."
        )
    count = sum(name.startswith("f_rest_") for name in names)
    if count not in (0, 9, 24, 45):
        raise ValueError(f"{path} must have 0, 9, 24 or 45 properties f_rest_*, got {count}.")
    return 1 + count // 3
