"""PLY files in the layout of 3D Gaussian Splatting, with raw (unactivated) values.

Per vertex: x y z, nx ny nz (zeros), f_dc_* and f_rest_* (spherical harmonics; f_rest channel by channel, K - 1 bases
each), opacity (logit), scale_* (logarithms), rot_* (wxyz). Binary, little-endian, float32.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from plyfile import PlyData, PlyElement

from ds4d.export.single_frame import check_single_frame
from ds4d.geometry import sh_degree as degree_of
from ds4d.io import atomic_path
from ds4d.shapes.gaussian_files import MEANS, QUATS, SCALES, SH0, rest_names
from ds4d.types import RawGaussians

_NORMALS = ("nx", "ny", "nz")


def write_ply(
    raw: RawGaussians, path: str | Path, *, sh_degree: int | None = None, comments: Sequence[str] = ()
) -> None:
    """Writes the Gaussians of one frame, atomically; see `to_world` for their coordinates.

    Args:
        raw: Gaussians without a time axis.
        path: the PLY file.
        sh_degree: degree of the spherical harmonics in the file, at most 3, at least that of `raw`; missing
            coefficients are 0, for programs that read only one degree. None keeps the degree of `raw`.
        comments: lines of the header for people and programs, in ASCII.

    Raises:
        ValueError: `raw` has a time axis, holds NaN or infinity, or has a higher degree than `sh_degree`.
    """
    raw = _pad_sh(check_single_frame(raw, "write_ply", path), sh_degree)
    columns = {
        MEANS: raw.means,
        _NORMALS: torch.zeros_like(raw.means),
        SH0: raw.sh[:, 0],
        rest_names(raw.sh.shape[1]): raw.sh[:, 1:].mT.flatten(1),
        ("opacity",): raw.opacity_logits[:, None],
        SCALES: raw.log_scales,
        QUATS: raw.quats,
    }
    names = [name for group in columns for name in group]
    values = torch.cat(list(columns.values()), dim=1).numpy()
    vertices = values.astype("<f4", copy=False).view([(name, "<f4") for name in names])[:, 0]
    with atomic_path(path) as temporary:
        element = PlyElement.describe(vertices, "vertex")
        PlyData([element], byte_order="<", comments=list(comments)).write(str(temporary))


def _pad_sh(raw: RawGaussians, degree: int | None) -> RawGaussians:
    own = degree_of(raw.sh.shape[1])
    if degree is None or degree == own:
        return raw
    if not own < degree <= 3:
        raise ValueError(f"write_ply: sh_degree must lie between the Gaussians' own, {own}, and 3, got {degree}.")
    sh = raw.sh.new_zeros(raw.num_gaussians, (degree + 1) ** 2, 3)
    sh[:, : raw.sh.shape[1]] = raw.sh
    return RawGaussians(raw.means, raw.quats, raw.log_scales, raw.opacity_logits, sh)
