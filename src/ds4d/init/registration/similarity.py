"""How much a drawn shape looks like the views."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.init.registration.targets import Targets

_COLOR_WEIGHT = 2.0  # silhouettes alone cannot tell front from back; a color error is small beside what it means


@dataclass(frozen=True)
class Likeness:
    """Of B drawings with the views; means over the views by their weights.

    Attributes:
        silhouette_iou: intersection over union, 1 where the silhouettes are equal.
        color_error: mean difference of the straight colors where both silhouettes cover, in [0, 1]; none without
            colors.
    """

    silhouette_iou: Float[Tensor, " B"]
    color_error: Float[Tensor, " B"] | None

    @property
    def error(self) -> Float[Tensor, " B"]:
        """One number to choose by, the smaller the better."""
        colors = 0 if self.color_error is None else _COLOR_WEIGHT * self.color_error
        return 1 - self.silhouette_iou + colors


def compare(
    drawn: Bool[Tensor, "B V P"],
    colors: Float[Tensor, "B V P 3"] | None,
    targets: Targets,
    covered_above: float = 0.5,
) -> Likeness:
    """Holds images of P pixels against the targets.

    Args:
        drawn: which pixels the shape covers, row by row.
        colors: straight colors in those pixels, or none.
        targets: the views.
        covered_above: what coverage makes a pixel part of a true silhouette.
    """
    true = (targets.alphas > covered_above).flatten(1)
    both, either = (drawn & true).sum(-1), (drawn | true).sum(-1)
    iou = (targets.weights * both / either).sum(-1)
    if colors is None:
        return Likeness(iou, None)
    differences = (colors - targets.straight.flatten(2).mT).abs().mean(-1) * (drawn & true)
    return Likeness(iou, (targets.weights * differences.sum(-1) / both.clamp_min(1)).sum(-1))
