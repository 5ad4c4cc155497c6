"""Gaussians as viser takes them: covariances and view-independent colors, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ds4d.geometry import evaluate_sh, quats_to_matrices
from ds4d.types import Gaussians

# The browser holds covariances in half precision, which is coarse below 6e-5: Gaussians thinner than 0.008 would change
# their shape. They are sent this much larger, and the node that holds them is scaled down by as much.
MAGNIFICATION = 16.0


@dataclass(frozen=True)
class SplatArrays:
    """The Gaussians at one time, magnified.

    Attributes:
        centers: centers in normalized space times `MAGNIFICATION`.
        covariances: covariances, magnified likewise.
        colors: colors in [0, 1] without their view-dependent part, which viser does not render.
        opacities: opacities in [0, 1].
    """

    centers: Float32[np.ndarray, "N 3"]
    covariances: Float32[np.ndarray, "N 3 3"]
    colors: Float32[np.ndarray, "N 3"]
    opacities: Float32[np.ndarray, "N 1"]


def splat_arrays(gaussians: Gaussians) -> SplatArrays:
    """Converts Gaussians at one time (leading axis 1)."""
    scaled_axes = quats_to_matrices(gaussians.quats[0]) * (MAGNIFICATION * gaussians.scales[0])[:, None, :]
    sh = gaussians.sh[0] if gaussians.sh.ndim == 4 else gaussians.sh
    colors = evaluate_sh(sh[:, :1], sh.new_ones(3)).clamp(0, 1)
    return SplatArrays(
        centers=(MAGNIFICATION * gaussians.means[0]).cpu().numpy(),
        covariances=(scaled_axes @ scaled_axes.mT).cpu().numpy(),
        colors=colors.cpu().numpy(),
        opacities=gaussians.opacities[0, :, None].cpu().numpy(),
    )
