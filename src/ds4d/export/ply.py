"""PLY files in the layout of 3D Gaussian Splatting, with raw (unactivated) values.

Per vertex: x y z, nx ny nz (zeros), f_dc_* and f_rest_* (spherical harmonics; f_rest channel by channel, K - 1 bases
each), opacity (logit), scale_* (logarithms), rot_* (wxyz). Binary, little-endian, float32.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement
from torch import Tensor

from ds4d.export.single_frame import check_finite, check_single_frame
from ds4d.geometry import sh_degree as degree_of
from ds4d.io import atomic_path, read_ply_file
from ds4d.types import RawGaussians

_MEANS = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")
_SH0 = tuple(f"f_dc_{i}" for i in range(3))
_SCALES = tuple(f"scale_{i}" for i in range(3))
_QUATS = tuple(f"rot_{i}" for i in range(4))


def write_ply(raw: RawGaussians, path: str | Path, *, sh_degree: int | None = None) -> None:
    """Writes the Gaussians of one frame, atomically; see `to_world` for their coordinates.

    Args:
        raw: Gaussians without a time axis.
        path: the PLY file.
        sh_degree: degree of the spherical harmonics in the file, at most 3, at least that of `raw`; missing
            coefficients are 0, for programs that read only one degree. None keeps the degree of `raw`.

    Raises:
        ValueError: `raw` has a time axis, holds NaN or infinity, or has a higher degree than `sh_degree`.
    """
    raw = _pad_sh(check_single_frame(raw, "write_ply", path), sh_degree)
    columns = {
        _MEANS: raw.means,
        _NORMALS: torch.zeros_like(raw.means),
        _SH0: raw.sh[:, 0],
        _rest_names(raw.sh.shape[1]): raw.sh[:, 1:].mT.flatten(1),
        ("opacity",): raw.opacity_logits[:, None],
        _SCALES: raw.log_scales,
        _QUATS: raw.quats,
    }
    names = [name for group in columns for name in group]
    values = torch.cat(list(columns.values()), dim=1).numpy()
    vertices = values.astype("<f4", copy=False).view([(name, "<f4") for name in names])[:, 0]
    with atomic_path(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


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
    rest = _rest_names(_count_bases([p.name for p in vertices.properties], path))

    def read(names: tuple[str, ...]) -> Float[Tensor, "N C"]:
        columns = [np.asarray(vertices[name], np.float32) for name in names]
        return torch.from_numpy(np.stack(columns, axis=1) if columns else np.zeros((vertices.count, 0), np.float32))

    raw = RawGaussians(
        means=read(_MEANS),
        quats=read(_QUATS),
        log_scales=read(_SCALES),
        opacity_logits=read(("opacity",))[:, 0],
        sh=torch.cat((read(_SH0)[:, None], read(rest).unflatten(1, (3, len(rest) // 3)).mT), dim=1),
    )
    check_finite(raw, str(path))
    return raw


def _rest_names(bases: int) -> tuple[str, ...]:
    return tuple(f"f_rest_{i}" for i in range(3 * (bases - 1)))


def _count_bases(names: list[str], path: str | Path) -> int:
    """The number of bases K in a file with these properties."""
    missing = [name for name in (*_MEANS, *_SH0, "opacity", *_SCALES, *_QUATS) if name not in names]
    if missing:
        raise ValueError(
            f"{path} must have the properties of 3D Gaussians, got none named {', '.join(missing)}. "
            "Meshes, point clouds and compressed splats are not read."
        )
    count = sum(name.startswith("f_rest_") for name in names)
    if count not in (0, 9, 24, 45):
        raise ValueError(f"{path} must have 0, 9, 24 or 45 properties f_rest_*, got {count}.")
    return 1 + count // 3


def _pad_sh(raw: RawGaussians, degree: int | None) -> RawGaussians:
    own = degree_of(raw.sh.shape[1])
    if degree is None or degree == own:
        return raw
    if not own < degree <= 3:
        raise ValueError(f"write_ply: sh_degree must lie between the Gaussians' own, {own}, and 3, got {degree}.")
    sh = raw.sh.new_zeros(raw.num_gaussians, (degree + 1) ** 2, 3)
    sh[:, : raw.sh.shape[1]] = raw.sh
    return RawGaussians(raw.means, raw.quats, raw.log_scales, raw.opacity_logits, sh)
