"""The filter bank: frame features without weights, from colors, derivatives and local contrast at several scales.

Letters: S scales, C channels, H W pixels, Y X pixels after averaging, h w cells, D Gaussian and its two derivatives.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from ds4d.core import check_ranges

# Rows: brightness, red against green, yellow against blue. The hues have twice the range of the brightness, which
# changes with the light.
_OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
_GRAY = 0.5  # brightness that counts as 0
_REACH = 4.0  # deviations after which a Gaussian is cut off: what is left out is below 1e-4 of the whole
_THIN = 1.5  # pixels; while a Gaussian is twice as wide, pixels may be averaged in pairs first
_THINNEST = 0.6  # pixels; a narrower Gaussian falls between the pixels
_PER_SCALE = 13
_BATCH = 8  # images at a time: more are no faster


@dataclass(frozen=True)
class FilterBankConfig:
    """Shape of the filter bank.

    Attributes:
        stride: pixels from one cell to the next, along both axes.
        scales: standard deviations of the Gaussians, in cells.
    """

    stride: int = 4
    scales: tuple[float, ...] = (0.5, 1.5, 4.5)

    def __post_init__(self) -> None:
        check_ranges(self, stride="[1, 64]")
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise ValueError(f"scales must be one or more in (0, 16], got {self.scales}.")


class FilterBank(nn.Module):
    """A fixed bank of Gaussian derivatives, 1 + 13 S channels.

    The first channel is 1 everywhere: tokens never vanish, so the angle between two of them has a meaning on plain
    ground too, and grows with the difference of what they show. Then, per scale: the three opponent colors (3), their
    derivatives along x (3) and along y (3), the brightness's second derivatives xx, xy, yy (3), and the brightness's
    local standard deviation (1). Derivatives are per standard deviation of the Gaussian, so every channel keeps within
    about -1 and 1 by itself, whatever the clip.

    Args:
        config: shape of the bank.
    """

    def __init__(self, config: FilterBankConfig) -> None:
        super().__init__()
        self.stride, self.scales, self.batch_size = config.stride, config.scales, _BATCH
        self.channels = 1 + _PER_SCALE * len(config.scales)

    @staticmethod
    def weights_digest(config: FilterBankConfig) -> str:
        """Nothing: there are no weights, and `config` says all."""
        return ""

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """One vector per cell; h and w are H and W over the stride, rounded, at least 1.

        Cell (i, j) is centered at ((i + 0.5) / h, (j + 0.5) / w) of the image's height and width, whether the stride
        divides them or not; past the border the image goes on as its last pixels.

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
    factor = 2 ** max(0, int(math.log2(sigma / _THIN)))
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
    """Means of squares of pixels; the image goes on as its last pixels where a side is no multiple."""
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
    spread = max(math.sqrt(max(0.0, sigma**2 - (factor**2 - 1) / 12)), _THINNEST * factor)
    beyond = math.ceil(_REACH * spread / factor) + 1
    index = torch.arange(-beyond, pixels + beyond, dtype=torch.float64)
    centers = (torch.arange(cells, dtype=torch.float64) + 0.5) * (size / cells)
    offsets = ((index + 0.5) * factor - centers[:, None]) / sigma
    bell = torch.exp(-0.5 * (offsets * (sigma / spread)).square())
    bell = bell * (offsets.abs() * sigma <= _REACH * spread + factor)
    bell = bell / bell.sum(1, keepdim=True)
    # Made orthogonal to one another under the bell, polynomials of degree 1 and 2 each see their own degree alone.
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
