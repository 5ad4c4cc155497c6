"""Settings and constants that all renderers share."""

from dataclasses import dataclass

# Fixed by gsplat's kernels, so that the renderers agree.
ALPHA_CUT = 1 / 255  # smaller alphas are not blended
MAX_ALPHA = 0.999  # keeps the transmittance above 0
MIN_TRANSMITTANCE = 1e-4  # a pixel stops before the Gaussian that would reduce it to this
MAX_EXTENT = 3.33  # standard deviations, just beyond where an opaque Gaussian falls to ALPHA_CUT


@dataclass(frozen=True)
class SplatSettings:
    """Settings of the rasterization; the defaults are gsplat's.

    Attributes:
        near_plane: smallest depth of a center that is rendered (camera z, world units).
        far_plane: largest depth of a center that is rendered (camera z, world units).
        eps2d: blur added to the diagonal of the projected covariances, square pixels, so that no Gaussian falls between
            pixels.
    """

    near_plane: float = 0.01
    far_plane: float = 1e10
    eps2d: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.near_plane < self.far_plane:
            raise ValueError(
                f"near_plane must be between 0 and far_plane, got {self.near_plane} and {self.far_plane}. Correct them."
            )
        if not self.eps2d >= 0:
            raise ValueError(f"eps2d must be 0 or more, got {self.eps2d}.")
