"""Scores of how well renderings of a shape match the target views."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.shapes.registration.targets import Targets

_COLOR_WEIGHT = 2.0  # colors distinguish front from back, which silhouettes cannot, by small errors


@dataclass(frozen=True)
class MatchScore:
    """Match of B poses with the target views; weighted means over the views.

    Attributes:
        silhouette_iou: intersection over union of the silhouettes, in [0, 1].
        color_error: mean absolute difference of the straight colors where the silhouettes overlap, in [0, 1]; None
            for shapes without colors.
    """

    silhouette_iou: Float[Tensor, " B"]
    color_error: Float[Tensor, " B"] | None

    @property
    def error(self) -> Float[Tensor, " B"]:
        """The error to minimize: 1 - IoU, plus the weighted color error."""
        colors = 0 if self.color_error is None else _COLOR_WEIGHT * self.color_error
        return 1 - self.silhouette_iou + colors


def score_match(
    covered: Bool[Tensor, "B V P"],
    colors: Float[Tensor, "B V P 3"] | None,
    targets: Targets,
    alpha_threshold: float = 0.5,
) -> MatchScore:
    """Compares renderings of P pixels with the target views.

    Args:
        covered: whether the shape covers a pixel, row by row.
        colors: straight colors of the pixels, or None.
        targets: target views.
        alpha_threshold: alpha above which a pixel is part of a target silhouette.
    """
    true = (targets.alphas > alpha_threshold).flatten(1)
    both, either = (covered & true).sum(-1), (covered | true).sum(-1)
    iou = (targets.weights * both / either).sum(-1)
    if colors is None:
        return MatchScore(iou, None)
    differences = (colors - targets.straight.flatten(2).mT).abs().mean(-1) * (covered & true)
    return MatchScore(iou, (targets.weights * differences.sum(-1) / both.clamp_min(1)).sum(-1))
