""".splat files: 32 bytes per Gaussian, the format that most web viewers read.

Per Gaussian: center and standard deviations (3 float32 each), red, green, blue and opacity (a byte each), quaternion
wxyz (a byte each, 128 + 128 q). View-dependent color is reduced to its mean.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.export.single_frame import byte_logits, check_single_frame
from ds4d.geometry import rgb_to_sh
from ds4d.geometry.spherical_harmonics import SH0
from ds4d.io import atomic_path, read_bytes
from ds4d.types import RawGaussians

_MAX_BYTES = 2**31
_RECORD: Any = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write_splat(raw: RawGaussians, path: str | Path) -> None:
    """Writes the Gaussians of one frame, atomically, large and opaque ones first.

    Viewers show files while they load, so the order decides what appears first.

    Args:
        raw: Gaussians without a time axis.
        path: the .splat file.

    Raises:
        ValueError: `raw` has a time axis, or holds NaN or infinity.
    """
    active = check_single_frame(raw, "write_splat", path).activate()
    weight = active.scales.prod(-1) * active.opacities
    order = weight.argsort(descending=True, stable=True)
    rgba = torch.cat((SH0 * active.sh[:, 0] + 0.5, active.opacities[:, None]), dim=1)
    records = np.empty(raw.num_gaussians, _RECORD)
    records["mean"] = active.means[order].numpy()
    records["scale"] = active.scales[order].numpy()
    records["rgba"] = _to_bytes(255 * rgba[order])
    records["quat"] = _to_bytes(128 + 128 * active.quats[order])
    with atomic_path(path) as temporary:
        records.tofile(temporary)


def read_splat(path: str | Path) -> RawGaussians:
    """The Gaussians of a .splat file, with colors of degree 0, in the order of the file.

    Raises:
        ValueError: the file is missing, or its length is not a multiple of 32 bytes.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} must be a .splat file, got nothing there. Check the path.")
    content = read_bytes(path, max_bytes=_MAX_BYTES)
    if len(content) % _RECORD.itemsize:
        raise ValueError(f"{path} must hold whole records of {_RECORD.itemsize} bytes, got {len(content)} bytes.")
    records = np.frombuffer(content, _RECORD)
    rgba = torch.from_numpy(records["rgba"].astype(np.float32)) / 255
    return RawGaussians(
        means=torch.from_numpy(records["mean"].copy()),
        quats=torch.from_numpy((records["quat"].astype(np.float32) - 128) / 128),
        log_scales=torch.from_numpy(records["scale"].copy()).log(),
        opacity_logits=byte_logits(rgba[:, 3]),
        sh=rgb_to_sh(rgba[:, None, :3]),
    )


def _to_bytes(values: Float[Tensor, "N C"]) -> np.ndarray:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
