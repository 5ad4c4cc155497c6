"""The filter bank: frame features without weights, from colours, derivatives and local contrast at several scales.

Letters: S scales, C channels, H W pixels, h w cells, D Gaussian and its first and second derivative.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.config import check_ranges

# Rows: brightness, red against green, yellow against blue. Each has a range of 1 (opponent ones -0.5 to 0.5).
_OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))
_REACH = 4.0  # deviations after which a Gaussian is cut off: what is left out is below 1e-4 of the whole
_THINNEST = 0.6  # pixels; a narrower Gaussian falls between the pixels


@dataclass(frozen=True)
class FilterBankConfig:
    """Shape of the filter bank.

    Attributes:
        stride: pixels from one cell to the next, along both axes.
        scales: standard deviations of the Gaussians, in cells, finest first.
    """

    stride: int = 4
    scales: tuple[float, ...] = (0.4, 0.8, 1.6)

    def __post_init__(self) -> None:
        check_ranges(self, stride="[1, 64]")
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise ValueError(f"FilterBankConfig: scales must be one or more in (0, 16], got {self.scales}.")


class FilterBank(nn.Module):
    """A fixed multi-scale bank: opponent colours, Gaussian derivatives, local deviation and structure.

    Per scale: three blurred opponent colours, the gradient and the Hessian of the brightness, and what does not turn
    with the picture: the gradient's length for each opponent colour and the local deviation of each. Besides, one
    constant channel: it keeps tokens from vanishing on plain grey, so that an angle between tokens has a meaning
    everywhere and grows with the difference of what they show.

    Args:
        config: shape of the bank.
    """

    def __init__(self, config: FilterBankConfig) -> None:
        super().__init__()
        self.stride, self.scales = config.stride, config.scales
        self.channels = 1 + 14 * len(config.scales)

    @staticmethod
    def weights_digest(config: FilterBankConfig) -> str:
        """Nothing: there are no weights, and `config` says all."""
        return ""

    def forward(self, images: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch C h w"]:
        """One vector per cell; h and w are H and W over the stride, rounded, at least 1.

        Cell (i, j) is centred at ((i + 0.5) / h, (j + 0.5) / w) of the picture, whether the stride divides its sides
        or not; past the border the picture goes on as its last pixel.

        Args:
            images: colours in [0, 1], over a plain background.
        """
        batch = images.shape[:-3]
        pictures = images.reshape(-1, *images.shape[-3:])
        mixing = torch.tensor(_OPPONENT, dtype=pictures.dtype, device=pictures.device)
        colors = torch.einsum("oc,bchw->bohw", mixing, pictures)
        features = torch.cat(self._channels(colors), dim=1)
        return features.reshape(*batch, *features.shape[1:])

    def _channels(self, colors: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        height, width = (max(1, round(size / self.stride)) for size in colors.shape[-2:])
        found = [colors.new_ones(colors.shape[0], 1, height, width)]
        gray = colors.new_tensor([0.5, 0.0, 0.0])[:, None, None]
        for scale in self.scales:
            rows = _derivatives(colors.shape[-2], height, scale * self.stride, colors)
            columns = _derivatives(colors.shape[-1], width, scale * self.stride, colors)
            response = torch.einsum("diy,bcyx,ejx->debcij", rows, colors, columns)
            blurred, dx, dy = response[0, 0], response[0, 1], response[1, 0]
            squares = torch.einsum("iy,bcyx,jx->bcij", rows[0], colors.square(), columns[0])
            deviation = (squares - blurred.square()).clamp_min(0).sqrt()
            hessian = (response[0, 2, :, :1], response[1, 1, :, :1], response[2, 0, :, :1])
            length = (dx.square() + dy.square()).sqrt()
            found += [blurred - gray, dx[:, :1], dy[:, :1], *hessian, length, deviation]
        return found


def _derivatives(size: int, cells: int, sigma: float, like: Tensor) -> Float[Tensor, "3 cells size"]:
    """Along one axis, Gaussian and first and second derivative at the centres of the cells, as matrices.

    Times sigma and sigma squared, so that a picture and its enlargement answer alike. Each row is exact for constants,
    lines and parabolas, however few pixels it holds. Pixels past the border add to the last one's weight.
    """
    sigma = max(sigma, _THINNEST)
    reach = math.ceil(_REACH * sigma) + 1
    pixels = torch.arange(-reach, size + reach, dtype=torch.float64)
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) * (size / cells)
    offsets = (pixels + 0.5 - centres[:, None]) / sigma
    bell = torch.exp(-0.5 * offsets.square()) * (offsets.abs() <= _REACH + 1 / sigma)
    bell = bell / bell.sum(1, keepdim=True)
    slope = offsets - (bell * offsets).sum(1, keepdim=True)
    square = slope.square()
    square = square - (bell * square).sum(1, keepdim=True)
    lean = (bell * square * slope).sum(1, keepdim=True) / (bell * slope * slope).sum(1, keepdim=True)
    curve = square - lean * slope
    first = bell * slope / (bell * slope * offsets).sum(1, keepdim=True)
    second = 2 * bell * curve / (bell * curve * offsets.square()).sum(1, keepdim=True)
    weights = torch.stack((bell, first, second))
    inside = pixels.clamp(0, size - 1).long()
    folded = weights.new_zeros(3, cells, size).index_add_(2, inside, weights)
    return folded.to(like)
