"""What real input does to an image: masks that are too large or too small, soft edges, blur and noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.lift_training.images import Surfaces


@dataclass(frozen=True)
class CorruptionSettings:
    """How often and how much input images are spoiled.

    Attributes:
        grow: chance that a mask is one pixel too large, and as much that it is one pixel too small.
        soften: chance that edges are soft.
        blur: chance that colors are blurred.
        noise: largest standard deviation of noise on colors.
    """

    grow: float = 0.15
    soften: float = 0.5
    blur: float = 0.3
    noise: float = 0.03


def input_images(
    surfaces: Surfaces, settings: CorruptionSettings, generator: torch.Generator
) -> Float[Tensor, "B 4 H W"]:
    """The front of each object as an input image: sRGB premultiplied by alpha.

    Args:
        surfaces: the drawn objects.
        settings: what happens to them.
        generator: source of randomness.
    """
    device, batch = surfaces.front.device, len(surfaces.front)

    def chosen(chance: float) -> Tensor:
        return (torch.rand(batch, 1, 1, 1, device=device, generator=generator) < chance).float()

    mask = surfaces.mask.float()[:, None]
    grown, shrunk = F.max_pool2d(mask, 3, 1, 1), 1 - F.max_pool2d(1 - mask, 3, 1, 1)
    # A mask that is too large shows some of the background.
    behind = torch.rand(batch, 3, 1, 1, device=device, generator=generator)
    colors = torch.where(mask > 0, surfaces.front_colors, 0.5 * behind + 0.5 * _filled(surfaces.front_colors, mask))
    colors = torch.lerp(colors, _filled(colors, torch.ones_like(mask)), chosen(settings.blur))
    level = settings.noise * torch.rand(batch, 1, 1, 1, device=device, generator=generator)
    colors = colors + level * torch.randn(colors.shape, device=device, generator=generator)
    larger, smaller = chosen(settings.grow), chosen(settings.grow)
    alphas = torch.lerp(torch.lerp(mask, grown, larger), shrunk, smaller * (1 - larger))
    alphas = torch.lerp(alphas, F.avg_pool2d(alphas, 3, 1, 1, count_include_pad=False), chosen(settings.soften))
    return torch.cat((colors.clamp(0, 1) * alphas, alphas), dim=1)


def _filled(colors: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
    """The mean of the masked colors in 3 x 3 pixels."""
    weight = F.avg_pool2d(mask, 3, 1, 1)
    return F.avg_pool2d(colors * mask, 3, 1, 1) / weight.clamp_min(1e-3)
