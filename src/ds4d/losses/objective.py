"""The objective: a named, weighted sum of losses.

A loss is one entry of `IMAGE_LOSSES` or `REGULARIZERS` and one field of `LossConfig` of the same name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ds4d.core import check_ranges, is_fused
from ds4d.losses import image_losses_cuda
from ds4d.losses.regularizers import mean_square, plane_smoothness, rigidity, stillness, time_l1, time_smoothness
from ds4d.losses.view_correction import ViewCorrection
from ds4d.metrics import Lpips, ssim


@dataclass(frozen=True)
class Term:
    """Weight of an image loss, and the views that it is averaged over.

    Attributes:
        weight: weight in the total loss; 0 switches the loss off.
        views: `all`, `input` (view 0) or `generated` (the other views).
    """

    weight: float = 0.0
    views: Literal["all", "input", "generated"] = "all"

    def __post_init__(self) -> None:
        check_ranges(self, weight="[0, inf)")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses by name.

    Attributes:
        l1: mean absolute color error over a random background.
        mse: mean squared color error over a random background.
        ssim: 1 - SSIM over a random background.
        mask: mean squared error of the rendered opacity.
        lpips: perceptual distance LPIPS over a random background; left out where its network's weights are missing.
        plane_smoothness: weight of the squared second difference of the HexPlane's space planes.
        time_smoothness: weight of the squared second difference of the HexPlane's time planes along time.
        time_l1: weight of the absolute difference of the HexPlane's time planes from 1.
        rigidity: weight of the change in distance between neighboring Gaussians.
        stillness: weight of the distance of Gaussians from where they are at the canonical time, where their features
            are still (DSFD); left out where there are no features of all views.
        view_warps: weight of the mean squared warp of the generated views (view correction), half image sizes.
        view_gains: weight of the mean squared log color gain of the generated views (view correction).
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
    stillness: float = 0.0
    view_warps: float = 4.3
    view_gains: float = 4.3

    def __post_init__(self) -> None:
        check_ranges(self, **{name: "[0, inf)" for name in REGULARIZERS})
        if not any(getattr(self, name).weight for name in IMAGE_LOSSES):
            raise ValueError(
                f"one of {', '.join(IMAGE_LOSSES)} must have a weight above 0, got none. "
                "Regularizers alone train nothing."
            )


@dataclass(frozen=True)
class LossInputs:
    """Everything that a loss may use in one step: B images at T times.

    Attributes:
        colors: rendered colors in [0, 1] over the backgrounds.
        alphas: rendered opacity in [0, 1].
        target_colors: training images in [0, 1] over the same backgrounds.
        target_alphas: masks of the training images in [0, 1].
        weights: weight per pixel, 1 for the input view.
        backgrounds: plain background colors in [0, 1].
        times: time of each image in [0, 1].
        views: view index of each image; 0 is the input view.
        canonical_means: Gaussian centers at the canonical time.
        means: Gaussian centers at the step's times.
        neighbors: indices of each Gaussian's nearest neighbors.
        still: how still the features call each Gaussian at the step's times, in [0, 1]; empty without them.
        spatial_planes: space planes of the HexPlane; empty in the static stage.
        temporal_planes: time planes of the HexPlane; empty in the static stage.
        warps: warps of the generated views, constant and over time; empty without view correction.
        gains: log color gains of the generated views, constant and over time; empty without view correction.
        all_views: view indices of all images of the step, where other processes render some of them: losses are then
            this process's part, and those of all processes add up. None: there are no others.
        part: share of this process in the images of the step, in [0, 1]; given with `all_views`.
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
    still: list[Float[Tensor, "T N"]] = field(default_factory=list)
    spatial_planes: list[Tensor] = field(default_factory=list)
    temporal_planes: list[Tensor] = field(default_factory=list)
    warps: list[Tensor] = field(default_factory=list)
    gains: list[Tensor] = field(default_factory=list)
    all_views: Int[Tensor, " A"] | None = None
    part: Float[Tensor, ""] | None = None

    @property
    def is_input(self) -> Bool[Tensor, " B"]:
        """Which images are of the input view."""
        return self.views == 0


def _l1(inputs: LossInputs) -> Float[Tensor, " B"]:
    return ((inputs.colors - inputs.target_colors).abs() * inputs.weights).mean(dim=(1, 2, 3))


def _mse(inputs: LossInputs) -> Float[Tensor, " B"]:
    return ((inputs.colors - inputs.target_colors).square() * inputs.weights).mean(dim=(1, 2, 3))


def _ssim(inputs: LossInputs) -> Float[Tensor, " B"]:
    return (1 - ssim(inputs.colors, inputs.target_colors)) * inputs.weights.mean(dim=(1, 2, 3))


def _mask(inputs: LossInputs) -> Float[Tensor, " B"]:
    return ((inputs.alphas - inputs.target_alphas).square() * inputs.weights).mean(dim=(1, 2, 3))


def _lpips(inputs: LossInputs, network: Lpips) -> Float[Tensor, " B"]:
    return network(inputs.colors, inputs.target_colors) * inputs.weights.mean(dim=(1, 2, 3))


# Losses of images, with one value per image; `lpips` is given its network as well.
IMAGE_LOSSES: dict[str, Callable[..., Tensor]] = {"l1": _l1, "mse": _mse, "ssim": _ssim, "mask": _mask, "lpips": _lpips}


_IS_CHOSEN: dict[str, Callable[[Int[Tensor, " B"]], Bool[Tensor, " B"]]] = {
    "all": lambda views: torch.ones_like(views, dtype=torch.bool),
    "input": lambda views: views == 0,
    "generated": lambda views: views != 0,
}
"""Which images a loss is averaged over, by `Term.views`."""


@dataclass(frozen=True)
class Regularizer:
    """A loss of the scene or of the view correction, with one value.

    Attributes:
        function: loss before its weight.
        applies_to: field of `LossInputs` that is regularized; the loss is left out while it is empty.
        needs_neighbors: whether the loss compares each Gaussian with its nearest neighbors.
    """

    function: Callable[[LossInputs], Tensor]
    applies_to: str
    needs_neighbors: bool = False


REGULARIZERS: dict[str, Regularizer] = {
    "plane_smoothness": Regularizer(lambda inputs: plane_smoothness(inputs.spatial_planes), "spatial_planes"),
    "time_smoothness": Regularizer(lambda inputs: time_smoothness(inputs.temporal_planes), "temporal_planes"),
    "time_l1": Regularizer(lambda inputs: time_l1(inputs.temporal_planes), "temporal_planes"),
    "rigidity": Regularizer(
        lambda inputs: rigidity(inputs.canonical_means, inputs.means, inputs.neighbors),
        "temporal_planes",
        needs_neighbors=True,
    ),
    "stillness": Regularizer(lambda inputs: stillness(inputs.canonical_means, inputs.means, inputs.still[0]), "still"),
    "view_warps": Regularizer(lambda inputs: mean_square(inputs.warps), "warps"),
    "view_gains": Regularizer(lambda inputs: mean_square(inputs.gains), "gains"),
}


class Objective(nn.Module):
    """The weighted sum of the losses whose weight is not 0.

    Args:
        config: weights of the losses.
        lpips: network of the loss `lpips`, which is left out without it.
        view_correction: correction of the rendered images to each view, if any.

    Raises:
        ValueError: no image loss is left without `lpips`.
    """

    def __init__(
        self, config: LossConfig, lpips: Lpips | None = None, view_correction: ViewCorrection | None = None
    ) -> None:
        super().__init__()
        self.view_correction = view_correction
        functions = {**IMAGE_LOSSES, "lpips": partial(_lpips, network=lpips) if lpips is not None else None}
        terms = {name: (getattr(config, name), function) for name, function in functions.items() if function}
        self._images = {name: (term, function) for name, (term, function) in terms.items() if term.weight}
        self._regularizers = {name: weight for name in REGULARIZERS if (weight := getattr(config, name))}
        if not self._images:
            raise ValueError(
                "an image loss besides lpips must have a weight above 0 while the network of LPIPS is missing, "
                "got none. Set --training.losses.l1.weight, or see `ds4d weights`."
            )

    @property
    def uses_lpips(self) -> bool:
        """Whether the loss `lpips` is on: it has a weight and its network."""
        return "lpips" in self._images

    @property
    def needs_neighbors(self) -> bool:
        """Whether a loss compares each Gaussian with its nearest neighbors."""
        return any(REGULARIZERS[name].needs_neighbors for name in self._regularizers)

    @property
    def holds_still(self) -> bool:
        """Whether a loss holds Gaussians that are still by their features."""
        return "stillness" in self._regularizers

    def forward(self, inputs: LossInputs) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total, and each loss before its weight (detached), by name."""
        if self.view_correction is not None:
            inputs = self._corrected(inputs, self.view_correction)
        total, values = self._fused(inputs)
        for name, (term, function) in self._images.items():
            if name in values:
                continue
            chosen = _IS_CHOSEN[term.views](inputs.views).to(inputs.colors)
            if inputs.part is not None:
                chosen = chosen * (inputs.part > 0)
            counted = chosen
            if inputs.all_views is not None:
                counted = _IS_CHOSEN[term.views](inputs.all_views).to(inputs.colors)
            value = (function(inputs) * chosen).sum() / counted.sum().clamp_min(1)
            total = total + term.weight * value
            values[name] = value.detach()
        for name, weight in self._regularizers.items():
            if getattr(inputs, REGULARIZERS[name].applies_to):
                value = REGULARIZERS[name].function(inputs)
                if inputs.part is not None:
                    value = value * inputs.part
                total = total + weight * value
                values[name] = value.detach()
        return total, values

    def _fused(self, inputs: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and the values of the losses that run as kernels of their own; 0 and none where none does.

        They divide by the number of their images, so they take those of one process.
        """
        images = (inputs.colors, inputs.alphas, inputs.target_colors, inputs.target_alphas)
        fused = image_losses_cuda.NAMES if image_losses_cuda.takes(inputs.colors) else ()
        terms = {name: (term.weight, term.views) for name, (term, _) in self._images.items() if name in fused}
        if not terms or inputs.part is not None or not is_fused("image_losses", *images, inputs.weights):
            return inputs.colors.new_zeros(()), {}
        return image_losses_cuda.weighted_losses(*images, inputs.weights, inputs.views, terms)

    @staticmethod
    def _corrected(inputs: LossInputs, correction: ViewCorrection) -> LossInputs:
        """The inputs with the rendered images as each view shows them, and the parameters that are penalized."""
        colors, alphas = correction(inputs.colors, inputs.alphas, inputs.backgrounds, inputs.times, inputs.views)
        warps, gains = correction.of_generated_views()
        return replace(inputs, colors=colors, alphas=alphas, warps=warps, gains=gains)
