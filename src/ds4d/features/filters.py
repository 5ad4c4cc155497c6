"""The filter bank: frame features without weights, of colors, derivatives and local contrast at several scales.

Letters: S scales, C channels, H W pixels, Y X pixels after averaging, h w cells, D Gaussian and its two derivatives.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from ds4d.core import check_ranges

# Rows: brightness, red minus green, yellow minus blue. The hues have twice the range of the brightness, which changes
# with the lighting.
_OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
_GRAY = 0.5  # brightness that counts as 0
_TRUNCATION = 4.0  # standard deviations at which a Gaussian is truncated; the rest is below 1e-4 of the whole
_MIN_POOLED_SIGMA = 1.5  # pixels; while a Gaussian is twice as wide, pixels are averaged in pairs first
_MIN_SIGMA = 0.6  # pixels; a narrower Gaussian would be undersampled
_CHANNELS_PER_SCALE = 13
_BATCH_SIZE = 8  # images; more are not faster


@dataclass(frozen=True)
class FilterBankConfig:
    """Resolution and scales of the filter bank.

    Attributes:
        stride: pixels from one cell to the next, along both axes.
        scales: standard deviations of the Gaussians, cells.
    """

    stride: int = 4
    scales: tuple[float, ...] = (0.5, 1.5, 4.5)

    def __post_init__(self) -> None:
        check_ranges(self, stride="[1, 64]")
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise ValueError(f"scales must be one or more in (0, 16], got {self.scales}.")


class FilterBank(nn.Module):
    """A fixed bank of Gaussian derivatives, 1 + 13 S channels.

    The first channel is 1 everywhere, so that no feature vector is 0 and the angle between two of them is defined on a
    plain background too and grows with their difference. Then, per scale: the three opponent colors (3), their
    derivatives along x (3) and along y (3), the second derivatives xx, xy, yy of the brightness (3), and the local
    standard deviation of the brightness (1). Derivatives are per standard deviation of the Gaussian, so that every
    channel stays between about -1 and 1.

    Args:
        config: resolution and scales.
    """

    def __init__(self, config: FilterBankConfig) -> None:
        super().__init__()
        self.stride, self.scales, self.batch_size = config.stride, config.scales, _BATCH_SIZE
        self.channels = 1 + _CHANNELS_PER_SCALE * len(config.scales)

    @staticmethod
    def is_usable(config: FilterBankConfig, device: torch.device) -> tuple[bool, str]:
        """Always: it needs no weights."""
        return True, "no weights needed"

    @staticmethod
    def weights_digest(config: FilterBankConfig) -> str:
        """Empty, as there are no weights."""
        return ""

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """Computes one feature vector per cell; h and w are H and W over the stride, rounded, at least 1.

        Cell (i, j) is centered at ((i + 0.5) / h, (j + 0.5) / w) of the image's height and width, whether or not the
        stride divides them; the image is padded by replicating its border.

        Args:
            images: colors in [0, 1], over a plain background.
        """
        batch = images.shape[:-3]
        flat = images.reshape(-1, *images.shape[-3:])
        height, width = (max(1, round(size / self.stride)) for size in images.shape[-2:])
        colors = torch.einsum("oc,bchw->bohw", flat.new_tensor(_OPPONENT), flat)
        colors[:, 0] -= _GRAY
        found = [colors.new_ones(len(colors), 1, height, width)]
        found += [_responses(colors, height, width, scale * self.stride) for scale in self.scales]
        features = torch.cat(found, dim=1)
        return features.reshape(*batch, *features.shape[1:])


def _responses(colors: Float[Tensor, "B 3 H W"], height: int, width: int, sigma: float) -> Float[Tensor, "B _ h w"]:
    """The channels of one scale, sigma in pixels."""
    H, W = colors.shape[-2:]
    factor = 2 ** max(0, int(math.log2(sigma / _MIN_POOLED_SIGMA)))
    pooled = _averaged(colors, factor)
    rows = _derivatives(H, pooled.shape[-2], factor, height, sigma, colors)
    columns = _derivatives(W, pooled.shape[-1], factor, width, sigma, colors)
    across = pooled @ columns[0].mT
    slope_across = pooled @ columns[1].mT
    curve_across = pooled[:, :1] @ columns[2].mT
    blurred, dx, dy = rows[0] @ across, rows[0] @ slope_across, rows[1] @ across
    hessian = (rows[0] @ curve_across, rows[1] @ slope_across[:, :1], rows[2] @ across[:, :1])
    squares = rows[0] @ (pooled[:, :1].square() @ columns[0].mT)
    deviation = (squares - blurred[:, :1].square()).clamp_min(0).sqrt()
    return torch.cat((blurred, dx, dy, *hessian, deviation), dim=1)


def _averaged(colors: Float[Tensor, "B 3 H W"], factor: int) -> Float[Tensor, "B 3 Y X"]:
    """Average pooling by `factor`; the image is padded by replication to a multiple of it."""
    if factor == 1:
        return colors
    height, width = colors.shape[-2:]
    return avg_pool2d(pad(colors, (0, -width % factor, 0, -height % factor), mode="replicate"), factor)


def _derivatives(
    size: int, pixels: int, factor: int, cells: int, sigma: float, like: Tensor
) -> Float[Tensor, "3 cells pixels"]:
    """Along one axis, the Gaussian and its first and second derivative at the centers of the cells, as matrices.

    The derivatives are times sigma and sigma squared. Constants, lines and parabolas give exactly their value, slope
    and curvature, however few pixels a Gaussian covers. Pixels past the border add to the last one's weight.

    Args:
        size: length of the axis.
        pixels: along the axis, each the mean over `factor`.
        factor: length of a pixel.
        cells: along the axis.
        sigma: standard deviation of the Gaussian together with the averaging.
        like: has the dtype and the device.
    """
    spread = max(math.sqrt(max(0.0, sigma**2 - (factor**2 - 1) / 12)), _MIN_SIGMA * factor)
    beyond = math.ceil(_TRUNCATION * spread / factor) + 1
    index = torch.arange(-beyond, pixels + beyond, dtype=torch.float64)
    centers = (torch.arange(cells, dtype=torch.float64) + 0.5) * (size / cells)
    offsets = ((index + 0.5) * factor - centers[:, None]) / sigma
    bell = torch.exp(-0.5 * (offsets * (sigma / spread)).square())
    bell = bell * (offsets.abs() * sigma <= _TRUNCATION * spread + factor)
    bell = bell / bell.sum(1, keepdim=True)
    # Orthogonal to one another under the Gaussian, the polynomials of degree 1 and 2 respond to their own degree only.
    line = offsets - _mean(bell, offsets)
    parabola = line.square() - _mean(bell, line.square())
    parabola = parabola - _mean(bell, parabola * line) / _mean(bell, line.square()) * line
    first = bell * line / _mean(bell, line * offsets)
    second = 2 * bell * parabola / _mean(bell, parabola * offsets.square())
    weights = torch.stack((bell, first, second))
    inside = index.clamp(0, pixels - 1).long()
    return weights.new_zeros(3, cells, pixels).index_add_(2, inside, weights).to(like)


def _mean(bell: Float[Tensor, "cells pixels"], values: Float[Tensor, "cells pixels"]) -> Float[Tensor, "cells 1"]:
    return (bell * values).sum(1, keepdim=True)
