"""The objective: a named, weighted sum of losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ds4d.core import check_ranges
from ds4d.losses import photometric, regularizers
from ds4d.losses.view_correction import ViewCorrection
from ds4d.metrics import Lpips, ssim


@dataclass(frozen=True)
class Term:
    """How much a loss of images counts, and for which views.

    Attributes:
        weight: factor in the sum; 0 switches the loss off.
        views: `all`, `input` (view 0) or `generated` (the others); the mean is over the images chosen.
    """

    weight: float = 0.0
    views: Literal["all", "input", "generated"] = "all"

    def __post_init__(self) -> None:
        check_ranges(self, weight="[0, inf)")


@dataclass(frozen=True)
class LossConfig:
    """The losses by name; each name but `lpips` is the key of its function in `IMAGE_LOSSES` or `REGULARIZERS`.

    Attributes:
        l1: absolute color error over a random background.
        mse: squared color error over a random background.
        ssim: 1 - SSIM.
        mask: squared error of the coverage.
        lpips: LPIPS over a random background; off if the weights of its network are missing.
        plane_smoothness: weight of the bending of the HexPlane's space planes.
        time_smoothness: weight of the bending of the HexPlane's time planes along time.
        time_l1: weight of the distance of the time planes from 1.
        rigidity: weight of the change of the distance between neighboring Gaussians.
    """

    l1: Term = Term(0.8)
    mse: Term = Term()
    ssim: Term = Term(0.2)
    mask: Term = Term(0.5)
    lpips: Term = Term()
    plane_smoothness: float = 1e-3
    time_smoothness: float = 1e-2
    time_l1: float = 1e-3
    rigidity: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, **{name: "[0, inf)" for name in REGULARIZERS})
        if not any(getattr(self, name).weight for name in IMAGE_LOSSES):
            raise ValueError(
                f"one of {', '.join(IMAGE_LOSSES)} must have a weight above 0, got none. "
                "Regularizers alone fit nothing."
            )


@dataclass(frozen=True)
class LossInputs:
    """Everything that a loss may use in one step: B images at T times.

    Attributes:
        colors: rendered colors in [0, 1] over the backgrounds.
        alphas: rendered opacity in [0, 1].
        target_colors: training images in [0, 1] over the same backgrounds.
        target_alphas: masks of the training images in [0, 1].
        weights: confidence per pixel, 1 for the input view.
        backgrounds: plain background colors in [0, 1].
        times: time of each image in [0, 1].
        views: view index of each image; 0 is the input view.
        canonical_means: Gaussian centers at the canonical time.
        means: Gaussian centers at the step's times.
        neighbors: indices of each Gaussian's nearest neighbors.
        spatial_planes: space planes of the HexPlane; empty in the static stage.
        temporal_planes: time planes of the HexPlane; empty in the static stage.
    """

    colors: Float[Tensor, "B 3 H W"]
    alphas: Float[Tensor, "B 1 H W"]
    target_colors: Float[Tensor, "B 3 H W"]
    target_alphas: Float[Tensor, "B 1 H W"]
    weights: Float[Tensor, "B 1 #H #W"]
    backgrounds: Float[Tensor, "B 3"]
    times: Float[Tensor, " B"]
    views: Int[Tensor, " B"]
    canonical_means: Float[Tensor, "N 3"]
    means: Float[Tensor, "T N 3"]
    neighbors: Int[Tensor, "N k"]
    spatial_planes: list[Tensor]
    temporal_planes: list[Tensor]

    @property
    def is_input(self) -> Bool[Tensor, " B"]:
        """Which images are of the input view."""
        return self.views == 0


def _l1(inputs: LossInputs) -> Tensor:
    return (photometric.l1(inputs.colors, inputs.target_colors) * inputs.weights).mean(dim=(1, 2, 3))


def _mse(inputs: LossInputs) -> Tensor:
    return (photometric.squared(inputs.colors, inputs.target_colors) * inputs.weights).mean(dim=(1, 2, 3))


def _ssim(inputs: LossInputs) -> Tensor:
    return (1 - ssim(inputs.colors, inputs.target_colors)) * inputs.weights.mean(dim=(1, 2, 3))


def _mask(inputs: LossInputs) -> Tensor:
    return (photometric.squared(inputs.alphas, inputs.target_alphas) * inputs.weights).mean(dim=(1, 2, 3))


def _lpips(network: Lpips, inputs: LossInputs) -> Tensor:
    return network(inputs.colors, inputs.target_colors) * inputs.weights.mean(dim=(1, 2, 3))


def _plane_smoothness(inputs: LossInputs) -> Tensor:
    return regularizers.plane_smoothness(inputs.spatial_planes)


def _time_smoothness(inputs: LossInputs) -> Tensor:
    return regularizers.time_smoothness(inputs.temporal_planes)


def _time_l1(inputs: LossInputs) -> Tensor:
    return regularizers.time_l1(inputs.temporal_planes)


def _rigidity(inputs: LossInputs) -> Tensor:
    return regularizers.rigidity(inputs.canonical_means, inputs.means, inputs.neighbors)


# One value per image.
IMAGE_LOSSES: dict[str, Callable[[LossInputs], Tensor]] = {"l1": _l1, "mse": _mse, "ssim": _ssim, "mask": _mask}
# One value, about the field; left out while nothing is deformed.
REGULARIZERS: dict[str, Callable[[LossInputs], Tensor]] = {
    "plane_smoothness": _plane_smoothness,
    "time_smoothness": _time_smoothness,
    "time_l1": _time_l1,
    "rigidity": _rigidity,
}


class Objective(nn.Module):
    """The weighted sum of the losses whose weight is not 0.

    Args:
        config: weights of the losses.
        lpips: network of the loss `lpips`, which is left out without it.
        view_correction: correction of the rendered images to each view, if any.
    """

    def __init__(
        self, config: LossConfig, lpips: Lpips | None = None, view_correction: ViewCorrection | None = None
    ) -> None:
        super().__init__()
        self.view_correction = view_correction
        self._losses = dict(IMAGE_LOSSES)
        if lpips is not None:
            self._losses["lpips"] = partial(_lpips, lpips)
        terms: dict[str, Term] = {name: getattr(config, name) for name in self._losses}
        weights: dict[str, float] = {name: getattr(config, name) for name in REGULARIZERS}
        self._terms = {name: term for name, term in terms.items() if term.weight}
        self._weights = {name: weight for name, weight in weights.items() if weight}

    @property
    def needs_neighbors(self) -> bool:
        """Whether a loss looks at each Gaussian's neighbors."""
        return "rigidity" in self._weights

    def forward(self, inputs: LossInputs) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and each loss before its weight (detached) by name; regularizers only where they apply."""
        if self.view_correction is not None:
            colors, alphas = self.view_correction(
                inputs.colors, inputs.alphas, inputs.backgrounds, inputs.times, inputs.views
            )
            inputs = replace(inputs, colors=colors, alphas=alphas)
        fractions = {"all": torch.ones_like(inputs.is_input), "input": inputs.is_input, "generated": ~inputs.is_input}
        total = inputs.colors.new_zeros(())
        values = {}
        for name, term in self._terms.items():
            chosen = fractions[term.views].to(inputs.colors)
            value = (self._losses[name](inputs) * chosen).sum() / chosen.sum().clamp_min(1)
            total = total + term.weight * value
            values[name] = value.detach()
        for name, weight in (self._weights if inputs.temporal_planes else {}).items():
            value = REGULARIZERS[name](inputs)
            total = total + weight * value
            values[name] = value.detach()
        if self.view_correction is not None:
            total = total + self.view_correction.penalty()
        return total, values
