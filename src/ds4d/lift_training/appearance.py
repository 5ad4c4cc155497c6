"""Random lights and paint, so that the network learns from shading and not from the colors of a few models."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.lift_training.vectors import transformed

_WAVES, _LIGHTS = 3, 3
_SHADES = 6  # levels per channel that tell the parts of a model apart when they are repainted


@dataclass(frozen=True)
class AppearanceSettings:
    """How often and how much models are repainted and relit.

    Attributes:
        repaint: chance that every part of one color gets another.
        mix: chance that the color channels are mixed at random.
        pattern: chance of a random pattern of waves.
    """

    repaint: float = 0.3
    mix: float = 0.4
    pattern: float = 0.35


@dataclass(frozen=True)
class Appearance:
    """Lights and paint of each image.

    Attributes:
        palette: color of each part where it is repainted, sRGB.
        repainted: 1 where parts get these colors, else 0.
        mix: what colors are multiplied with.
        waves: wave vectors of the pattern, radians per unit.
        phases: their phases, radians.
        strengths: what each wave adds to the channels.
        ambient: light from everywhere, linear.
        lights: directions towards the lights.
        intensities: their intensities, linear.
    """

    palette: Float[Tensor, "B P 3"]
    repainted: Float[Tensor, " B"]
    mix: Float[Tensor, "B 3 3"]
    waves: Float[Tensor, "B 3 w"]
    phases: Float[Tensor, "B w"]
    strengths: Float[Tensor, "B w 3"]
    ambient: Float[Tensor, "B 3"]
    lights: Float[Tensor, "B l 3"]
    intensities: Float[Tensor, "B l 3"]

    def shade(
        self, albedo: Float[Tensor, "B H W 3"], normals: Float[Tensor, "B H W 3"], rest: Float[Tensor, "B H W 3"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Painted and lit colors, sRGB.

        Args:
            albedo: colors of the model, sRGB.
            normals: unit normals towards the viewer, in the world's axes.
            rest: positions in the first pose, which patterns stick to.
        """
        albedo, normals, rest = (x.flatten(1, 2) for x in (albedo, normals, rest))
        parts = (albedo * (_SHADES - 1)).round().mul(albedo.new_tensor([1.0, _SHADES, _SHADES**2])).sum(-1).long()
        painted = self.palette.gather(1, parts[..., None].expand(-1, -1, 3))
        colors = transformed(torch.where(self.repainted[:, None, None] > 0, painted, albedo), self.mix)
        waves = (transformed(rest, self.waves) + self.phases[:, None]).sin()
        colors = (colors + transformed(waves, self.strengths)).clamp(0.02, 1)
        lit = transformed(normals, self.lights.mT).clamp_min(0)
        light = self.ambient[:, None] + transformed(lit, self.intensities)
        return (colors.pow(2.2) * light).clamp(1e-6, 1).pow(1 / 2.2).mT.unflatten(2, (-1, round(rest.shape[1] ** 0.5)))


def random_appearance(
    count: int, settings: AppearanceSettings, generator: torch.Generator, device: torch.device
) -> Appearance:
    """Random lights and paint: ambient light from dim to bright, and up to three lights mostly from above."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, device=device, generator=generator)

    mixed = (uniform() < settings.mix).float()[:, None, None]
    identity = torch.eye(3, device=device).expand(count, 3, 3)
    mixes = uniform(3, 3).softmax(1) * 0.3 + 0.7 * identity[:, :, torch.randperm(3, device=device, generator=generator)]
    gain = (0.25 * normal(1, 3)).exp()
    patterned = (uniform() < settings.pattern).float()[:, None, None]
    directions = normal(_LIGHTS, 3)
    directions[..., 1] = directions[..., 1].abs() + 0.3 * directions[..., 1]
    used = torch.stack((uniform() < 0.9, uniform() < 0.5, uniform() < 0.3), dim=1)
    tint = 1 + 0.1 * normal(_LIGHTS, 3)
    return Appearance(
        palette=uniform(_SHADES**3, 3),
        repainted=(uniform() < settings.repaint).float(),
        mix=(mixed * mixes + (1 - mixed) * identity) * gain.clamp(0.6, 1.5),
        waves=normal(3, _WAVES) * torch.exp(2.5 * uniform(1, _WAVES)) * 2,
        phases=6.3 * uniform(_WAVES),
        strengths=patterned * 0.12 * normal(_WAVES, 3),
        ambient=(0.25 + 0.65 * uniform(1)) * (1 + 0.05 * normal(3)),
        lights=F.normalize(directions, dim=-1),
        intensities=(used.float() * 0.8 * uniform(_LIGHTS))[..., None] * tint.clamp_min(0),
    )
