""".splat files: 32 bytes per Gaussian, the format that most web viewers read.

Per Gaussian: center and standard deviations (3 float32 each), red, green, blue and opacity (a byte each), quaternion
wxyz (a byte each, 128 + 128 q). View-dependent color is reduced to its mean.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.export.single_frame import check_single_frame
from ds4d.geometry.spherical_harmonics import SH0
from ds4d.io import atomic_path
from ds4d.shapes.gaussian_files import SPLAT_RECORD
from ds4d.types import Gaussians, RawGaussians


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
    records = splat_records(active, active.quats)[order.numpy()]
    with atomic_path(path) as temporary:
        records.tofile(temporary)


def splat_records(active: Gaussians, quats: Float[Tensor, "N 4"]) -> np.ndarray:
    """The records of a file, in the order of the Gaussians.

    Args:
        active: Gaussians without a time axis, on the CPU.
        quats: their unit quaternions, with the signs that the records are to have.
    """
    rgba = torch.cat((SH0 * active.sh[:, 0] + 0.5, active.opacities[:, None]), dim=1)
    records = np.empty(len(rgba), SPLAT_RECORD)
    records["mean"] = active.means.numpy()
    records["scale"] = active.scales.numpy()
    records["rgba"] = _to_bytes(255 * rgba)
    records["quat"] = _to_bytes(128 + 128 * quats)
    return records


def _to_bytes(values: Float[Tensor, "N C"]) -> np.ndarray:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
