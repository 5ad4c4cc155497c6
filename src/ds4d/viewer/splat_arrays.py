"""Gaussians as viser draws them: covariances and plain colors, as arrays on the CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ds4d.geometry import evaluate_sh, quats_to_matrices
from ds4d.types import Gaussians

# The browser holds covariances in half precision, whose steps below 6e-5 are coarse: Gaussians thinner than 0.008 units
# would change their shape. They are sent this much larger, and the node that holds them is this much smaller.
MAGNIFIED = 16.0


@dataclass(frozen=True)
class SplatArrays:
    """The Gaussians of one time, magnified.

    Attributes:
        centers: inner world, times `MAGNIFIED`.
        covariances: of the same lengths.
        colors: in [0, 1], as seen from nowhere: the view-dependent part is left out, which a browser cannot follow.
        opacities: in [0, 1].
    """

    centers: Float32[np.ndarray, "N 3"]
    covariances: Float32[np.ndarray, "N 3 3"]
    colors: Float32[np.ndarray, "N 3"]
    opacities: Float32[np.ndarray, "N 1"]


def splat_arrays(gaussians: Gaussians) -> SplatArrays:
    """What viser takes of Gaussians at a single time (leading axis 1)."""
    scaled_axes = quats_to_matrices(gaussians.quats[0]) * (MAGNIFIED * gaussians.scales[0])[:, None, :]
    sh = gaussians.sh[0] if gaussians.sh.ndim == 4 else gaussians.sh
    colors = evaluate_sh(sh[:, :1], sh.new_ones(3)).clamp(0, 1)
    return SplatArrays(
        centers=(MAGNIFIED * gaussians.means[0]).cpu().numpy(),
        covariances=(scaled_axes @ scaled_axes.mT).cpu().numpy(),
        colors=colors.cpu().numpy(),
        opacities=gaussians.opacities[0, :, None].cpu().numpy(),
    )
