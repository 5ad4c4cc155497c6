"""Pixel errors, unreduced; images in [0, 1]."""

from jaxtyping import Float
from torch import Tensor


def l1(pred: Float[Tensor, "*batch C H W"], target: Float[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch C H W"]:
    """Absolute error."""
    return (pred - target).abs()


def squared(
    pred: Float[Tensor, "*batch C H W"], target: Float[Tensor, "*batch C H W"]
) -> Float[Tensor, "*batch C H W"]:
    """Squared error."""
    return (pred - target).square()
