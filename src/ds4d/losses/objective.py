"""The objective: a named, weighted sum of losses."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.config import check_ranges
from ds4d.imaging import ssim
from ds4d.losses import photometric, regularizers


@dataclass(frozen=True)
class Term:
    """How much a loss counts, and for which views.

    Attributes:
        weight: factor in the sum; 0 switches the loss off.
        views: `all`, `real` (the filmed view 0) or `novel` (the others). Regularisers know no views.
    """

    weight: float = 0.0
    views: Literal["all", "real", "novel"] = "all"

    def __post_init__(self) -> None:
        check_ranges(self, weight="[0, inf)")


@dataclass(frozen=True)
class LossConfig:
    """The terms by name; each name is the key of its function in `TERMS`.

    Attributes:
        l1: absolute colour error over a random background.
        mse: squared colour error over a random background.
        ssim: 1 - SSIM.
        mask: squared error of the coverage.
        plane_smoothness: of the HexPlane's space planes.
        time_smoothness: of the HexPlane's time planes.
        time_l1: distance of the time planes from 1.
        rigidity: change of the distance between neighbouring Gaussians.
    """

    l1: Term = Term(0.8)
    mse: Term = Term()
    ssim: Term = Term(0.2)
    mask: Term = Term(0.5)
    plane_smoothness: Term = Term(1e-3)
    time_smoothness: Term = Term(1e-2)
    time_l1: Term = Term(1e-3)
    rigidity: Term = Term()


@dataclass(frozen=True)
class LossInputs:
    """All that a loss may look at in one step: B pictures of T times.

    Attributes:
        colors: rendered, over the step's backgrounds.
        alphas: rendered coverage.
        target_colors: the pictures over the same backgrounds.
        target_alphas: their coverage.
        weights: trust per pixel, 1 for the real view.
        is_real: which pictures belong to view 0.
        canonical_means: centres at the canonical time.
        means: centres at the step's times.
        neighbours: rows of each Gaussian's neighbours.
        spatial_planes: of the HexPlane; empty while nothing is deformed.
        temporal_planes: of the HexPlane; empty while nothing is deformed.
    """

    colors: Float[Tensor, "B 3 H W"]
    alphas: Float[Tensor, "B 1 H W"]
    target_colors: Float[Tensor, "B 3 H W"]
    target_alphas: Float[Tensor, "B 1 H W"]
    weights: Float[Tensor, "B 1 #H #W"]
    is_real: Bool[Tensor, " B"]
    canonical_means: Float[Tensor, "N 3"]
    means: Float[Tensor, "T N 3"]
    neighbours: Int[Tensor, "N k"]
    spatial_planes: list[Tensor]
    temporal_planes: list[Tensor]


def _l1(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return (photometric.l1(inputs.colors, inputs.target_colors) * inputs.weights * chosen).mean()


def _mse(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return (photometric.squared(inputs.colors, inputs.target_colors) * inputs.weights * chosen).mean()


def _ssim(inputs: LossInputs, chosen: Tensor) -> Tensor:
    trust = (inputs.weights * chosen).mean(dim=(1, 2, 3))
    return ((1 - ssim(inputs.colors, inputs.target_colors)) * trust).mean()


def _mask(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return (photometric.squared(inputs.alphas, inputs.target_alphas) * inputs.weights * chosen).mean()


def _plane_smoothness(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return regularizers.plane_smoothness(inputs.spatial_planes)


def _time_smoothness(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return regularizers.time_smoothness(inputs.temporal_planes)


def _time_l1(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return regularizers.time_l1(inputs.temporal_planes)


def _rigidity(inputs: LossInputs, chosen: Tensor) -> Tensor:
    return regularizers.rigidity(inputs.canonical_means, inputs.means, inputs.neighbours)


TERMS: dict[str, Callable[[LossInputs, Tensor], Tensor]] = {
    "l1": _l1,
    "mse": _mse,
    "ssim": _ssim,
    "mask": _mask,
    "plane_smoothness": _plane_smoothness,
    "time_smoothness": _time_smoothness,
    "time_l1": _time_l1,
    "rigidity": _rigidity,
}
NEEDS_FIELD = frozenset({"plane_smoothness", "time_smoothness", "time_l1", "rigidity"})


class Objective:
    """Sums the terms whose weight is not 0."""

    def __init__(self, config: LossConfig) -> None:
        self.terms: dict[str, Term] = {
            f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name).weight
        }

    @property
    def needs_neighbours(self) -> bool:
        """Whether a term looks at each Gaussian's neighbours."""
        return "rigidity" in self.terms

    def active_terms(self, deformed: bool) -> list[str]:
        """Names of the terms that are summed; those about motion need a field."""
        return [name for name in self.terms if deformed or name not in NEEDS_FIELD]

    def __call__(self, inputs: LossInputs) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and each term's own value before its weight (detached)."""
        masks = {
            "all": torch.ones_like(inputs.is_real),
            "real": inputs.is_real,
            "novel": ~inputs.is_real,
        }
        total = inputs.colors.new_zeros(())
        values = {}
        for name in self.active_terms(bool(inputs.temporal_planes)):
            term = self.terms[name]
            value = TERMS[name](inputs, masks[term.views].to(inputs.colors)[:, None, None, None])
            total = total + term.weight * value
            values[name] = value.detach()
        return total, values
