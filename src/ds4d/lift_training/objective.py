"""The loss of a prediction against the drawn surfaces."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.lift_training.images import Surfaces
from ds4d.multiview.lift.network import Prediction

_STRIDES = (1, 2, 4)  # pixels, of the depth differences


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the terms of the loss.

    Attributes:
        depth: absolute error of the depths, in units of the crop's side.
        slope: absolute error of differences between depths at nearby pixels.
        color: absolute error of the colors of the back.
        scale: negative logarithm of the likelihood of the depth errors, under Laplace distributions of the predicted
            scales; the depths themselves do not learn from it.
    """

    depth: float = 1.0
    slope: float = 1.0
    color: float = 0.25
    scale: float = 0.02


def objective_terms(
    predicted: Prediction, surfaces: Surfaces, shown: Float[Tensor, "B H W"]
) -> dict[str, Float[Tensor, ""]]:
    """Each term of the loss before its weight, the mean over images of the mean over pixels.

    Args:
        predicted: prediction of the network.
        surfaces: what is true.
        shown: mask that the network saw; what it could not see does not count.
    """
    counted = (surfaces.mask & (shown > 0.5)).float()
    terms = dict.fromkeys(("depth", "slope", "scale"), counted.new_zeros(()))
    for name in ("front", "back"):
        error = getattr(predicted, name) - getattr(surfaces, name)
        log_scale = getattr(predicted, f"{name}_log_scale").clamp(-7, 1)
        terms["depth"] = terms["depth"] + _mean(error.abs(), counted)
        terms["scale"] = terms["scale"] + _mean(error.detach().abs() * (-log_scale).exp() + log_scale, counted)
        for stride in _STRIDES:
            terms["slope"] = terms["slope"] + _slope_error(error, counted, stride)
    terms["color"] = _mean((predicted.back_colors - surfaces.back_colors).abs().mean(1), counted)
    return terms


def weighted_sum(terms: dict[str, Float[Tensor, ""]], weights: ObjectiveWeights) -> Float[Tensor, ""]:
    """The loss."""
    return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()


def _slope_error(error: Float[Tensor, "B H W"], counted: Float[Tensor, "B H W"], stride: int) -> Float[Tensor, ""]:
    """Absolute differences of errors at pixels a stride apart."""
    down = _mean((error[:, stride:] - error[:, :-stride]).abs(), counted[:, stride:] * counted[:, :-stride])
    across = _mean((error[..., stride:] - error[..., :-stride]).abs(), counted[..., stride:] * counted[..., :-stride])
    return (down + across) / (2 * len(_STRIDES))


def _mean(values: Float[Tensor, "B H W"], weights: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    return ((values * weights).sum((1, 2)) / weights.sum((1, 2)).clamp_min(1)).mean()
