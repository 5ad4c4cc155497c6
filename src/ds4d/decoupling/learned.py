"""DSFD with a reference that is learned with the scene."""

from jaxtyping import Float
from torch import Tensor, nn

from ds4d.decoupling.dsfd import decouple
from ds4d.decoupling.reference import unit


class LearnedReference(nn.Module):
    """Decouples frame features by one learned direction per cell, and standardizes the result (paper, DSFD: r(j)).

    Cells whose features are 0 in all frames, as those of an empty background, keep a reference of 0.

    Args:
        direction: where the reference begins.
        offset: mean of each channel of the decoupled features with this reference.
        factor: factor that gives each channel a standard deviation of 1, with this reference.
        limit: largest absolute value of a standardized feature.
    """

    offset: Tensor
    factor: Tensor

    def __init__(
        self,
        direction: Float[Tensor, "V C h w"],
        offset: Float[Tensor, "D 1 1"],
        factor: Float[Tensor, "D 1 1"],
        limit: float,
    ) -> None:
        super().__init__()
        self.direction = nn.Parameter(direction.clone())
        self.limit = limit
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, maps: Float[Tensor, "B V C h w"]) -> Float[Tensor, "B V D h w"]:
        """The decoupled features [f, dynamic] of frame features as they were extracted, D = 2C."""
        decoupled = decouple(maps.to(self.direction.dtype), unit(self.direction)[None]).decoupled
        return ((decoupled - self.offset) * self.factor).clamp(-self.limit, self.limit)
