"""Random smooth deformations of the models, so that the network learns shapes and not the few models there are."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.lift_training.model_pool import Samples

_WAVES = 3
_SLOWEST, _FASTEST = 1.2, 5.0  # wave numbers, radians per radius of the object


@dataclass(frozen=True)
class WarpSettings:
    """How often and how much models are deformed.

    Attributes:
        chance: chance that a model is deformed.
        strength: largest gradient of the displacement by each of the three waves.
    """

    chance: float = 0.7
    strength: float = 0.3

    def __post_init__(self) -> None:
        check_ranges(self, chance="[0, 1]", strength="[0, 0.33]")  # together below 1: nothing folds over


@dataclass(frozen=True)
class Warps:
    """Displacements by waves, one sum of waves per image.

    Attributes:
        waves: wave vectors, radians per unit.
        phases: their phases, radians.
        displacements: amplitude of each wave.
    """

    waves: Float[Tensor, "B w 3"]
    phases: Float[Tensor, "B w"]
    displacements: Float[Tensor, "B w 3"]


def random_warps(count: int, settings: WarpSettings, generator: torch.Generator, device: torch.device) -> Warps:
    """Waves with random directions, lengths, phases and amplitudes; none where a model is left as it is."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, device=device, generator=generator)

    def direction() -> Tensor:
        return F.normalize(torch.randn(count, _WAVES, 3, device=device, generator=generator), dim=-1)

    numbers = _SLOWEST * (math.log(_FASTEST / _SLOWEST) * uniform(_WAVES, 1)).exp()
    gradients = settings.strength * uniform(_WAVES, 1) * (uniform(1, 1) < settings.chance)
    return Warps(numbers * direction(), 2 * math.pi * uniform(_WAVES), gradients / numbers * direction())


def warped(samples: Samples, warps: Warps) -> Samples:
    """Displaces samples, and turns their normals with the surface.

    Their mean stays where it is: no image shows how far away an object went.
    """
    positions, normals = samples.positions, samples.normals
    moved = positions
    columns = [torch.zeros_like(positions) for _ in range(3)]  # derivatives of the displacement
    for wave in range(_WAVES):
        vector, amplitude = warps.waves[:, wave, None], warps.displacements[:, wave, None]
        angles = (positions * vector).sum(-1, keepdim=True) + warps.phases[:, wave, None, None]
        moved = moved + angles.sin() * amplitude
        slope = angles.cos() * amplitude
        columns = [column + vector[..., axis, None] * slope for axis, column in enumerate(columns)]
    x, y, z = (column + unit for column, unit in zip(columns, torch.eye(3, device=positions.device), strict=True))
    # Normals turn by the cofactors of the Jacobian.
    turned = (
        normals[..., 0, None] * y.cross(z, dim=-1)
        + normals[..., 1, None] * z.cross(x, dim=-1)
        + normals[..., 2, None] * x.cross(y, dim=-1)
    )
    moved = moved - (moved - positions).mean(1, keepdim=True)
    return Samples(moved, F.normalize(turned, dim=-1))
