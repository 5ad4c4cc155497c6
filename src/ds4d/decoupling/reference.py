"""References that the frame features of each view are projected on (paper, DSFD: r(j))."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

_MEDIAN_STEPS = 10
_NEAR_FRAME = 1e-3  # distance of directions below which a frame counts no more than at it


def middle(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "1 V C h w"]:
    """The features of the middle frame (semantics); nothing is dynamic in that frame itself."""
    return unit(maps[maps.shape[0] // 2])[None]


def mean(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "1 V C h w"]:
    """The mean over all frames (average motion)."""
    return unit(maps.mean(0))[None]


def middle_and_mean(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "1 V C h w"]:
    """The direction half-way between `middle` and `mean`."""
    return unit(middle(maps) + mean(maps))


def learned(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "1 V C h w"]:
    """Where a reference that is learned with the scene begins (`LearnedReference`): at `middle_and_mean`."""
    return middle_and_mean(maps)


def robust(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "1 V C h w"]:
    """The direction with the least mean distance from those of all frames: a mean that few odd frames do not move.

    Geometric median by Weiszfeld's iteration, a few steps from the mean.
    """
    directions = unit(maps)
    center = directions.mean(0)
    for _ in range(_MEDIAN_STEPS):
        squares = (directions - center).square().sum(-3, keepdim=True)
        weights = (squares + _NEAR_FRAME**2).rsqrt()
        center = (weights * directions).sum(0) / weights.sum(0)
    return unit(center)[None]


def plane(maps: Float[Tensor, "T V C h w"]) -> Float[Tensor, "2 V C h w"]:
    """Two orthonormal vectors that span `middle` and `mean`.

    For the ablation: changes along a single direction are not found, and where nothing moves the second vector is 0.
    """
    first, other = middle(maps)[0], mean(maps)[0]
    rest = other - _dot(other, first) * first
    # Below this the rest is a rounding error of two equal directions.
    second = torch.where(_norm(rest) > 1e-3, unit(rest), torch.zeros_like(rest))
    return torch.stack((first, second))


REFERENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "middle": middle,
    "mean": mean,
    "middle+mean": middle_and_mean,
    "plane": plane,
    "robust": robust,
    "learned": learned,
}

if TYPE_CHECKING:
    ReferenceName = str
else:
    ReferenceName = Literal[tuple(REFERENCES)]


def unit(vectors: Float[Tensor, "*batch C h w"]) -> Float[Tensor, "*batch C h w"]:
    """Vectors scaled to length 1; a vector of length 0 is returned unchanged, with a gradient of 0."""
    squares = vectors.square().sum(-3, keepdim=True)
    is_zero = squares == 0
    return vectors * torch.where(is_zero, torch.zeros_like(squares), squares.masked_fill(is_zero, 1).rsqrt())


def _norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-3, keepdim=True).sqrt()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-3, keepdim=True)
