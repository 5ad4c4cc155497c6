"""What every splatter back end shares."""

from dataclasses import dataclass

# Fixed by gsplat's kernels, so that the back ends agree.
ALPHA_CUT = 1 / 255  # fainter is not drawn
MAX_ALPHA = 0.999  # keeps the transmittance above 0
MIN_TRANSMITTANCE = 1e-4  # a pixel takes no Gaussian that would bring it here
MAX_EXTENT = 3.33  # standard deviations; an opaque Gaussian falls to ALPHA_CUT just before


@dataclass(frozen=True)
class SplatSettings:
    """Settings of the rasterisation; the defaults are gsplat's.

    Attributes:
        near_plane: Gaussians whose center lies nearer (camera z, world units) are not drawn.
        far_plane: nor those whose center lies farther.
        eps2d: blur added to the diagonal of the projected covariances, in square pixels, so that no Gaussian falls
            between the pixels.
    """

    near_plane: float = 0.01
    far_plane: float = 1e10
    eps2d: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.near_plane < self.far_plane:
            raise ValueError(
                f"SplatSettings: near_plane must lie between 0 and far_plane, got {self.near_plane} and "
                f"{self.far_plane}."
            )
        if not self.eps2d >= 0:
            raise ValueError(f"SplatSettings: eps2d must not be negative, got {self.eps2d}.")
