"""DSFD, dynamic-static feature decoupling: what a token shares with its reference is static, the rest is dynamic."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.decoupling.reference import REFERENCES
from ds4d.types import Cameras, DecoupledFeatures


@dataclass(frozen=True)
class DecouplingConfig:
    """How frame features are decoupled.

    Attributes:
        reference: what each view's features are projected on: those of the `middle` frame, their `mean` over the clip,
            the direction half-way between (`middle+mean`), or the `plane` of both (for the ablation).
        enabled: whether the dynamic part is added to the frame features; without it they are used as they are (the
            ablation's row D).
    """

    reference: Literal["middle", "mean", "middle+mean", "plane"] = "middle+mean"
    enabled: bool = True


def reference_basis(maps: Float[Tensor, "T V C h w"], reference: str) -> Float[Tensor, "R V C h w"]:
    """Orthonormal vectors that span each cell's reference (paper: r(j) / |r(j)|).

    Args:
        maps: frame features of every frame of the clip.
        reference: a key of `REFERENCES`.

    Returns:
        One vector per cell (R = 1), or two for `plane`; zeros where the reference is 0.

    Raises:
        ValueError: there is no such reference.
    """
    if reference not in REFERENCES:
        raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {reference!r}.")
    return REFERENCES[reference](maps)


def decouple(maps: Float[Tensor, "T V C h w"], basis: Float[Tensor, "R _ _ _ _"]) -> DecoupledFeatures:
    """Splits every token into its projection on the reference and the orthogonal remainder (paper, DSFD).

    static(i,j) = sum over the basis of (f(i,j) . b(j)) b(j);  dynamic(i,j) = f(i,j) - static(i,j).

    Cells are compared in place, so each view's camera must stand still (`check_still_cameras`).

    Args:
        maps: frame features of any frames.
        basis: orthonormal vectors of the same views (`reference_basis`).

    Raises:
        ValueError: the two are not of the same views and cells.
    """
    if maps.shape[1:] != basis.shape[1:]:
        raise ValueError(
            f"decouple: basis must have the views, channels and cells of maps {list(maps.shape[1:])}, "
            f"got {list(basis.shape[1:])}. Make both from the same features."
        )
    static = torch.zeros_like(maps)
    for vector in basis:
        static = static + (maps * vector).sum(2, keepdim=True) * vector
    return DecoupledFeatures(static, maps - static)


def dynamic_fraction(features: DecoupledFeatures) -> Float[Tensor, "T V h w"]:
    """How dynamic each token is: the sine of its angle to the reference, |dynamic| / |f|, in [0, 1] (0 if f is)."""
    dynamic = features.dynamic.square().sum(2)
    whole = (features.static + features.dynamic).square().sum(2)
    return torch.where(whole > 0, dynamic / whole.clamp_min(1e-12), torch.zeros_like(whole)).clamp(0, 1).sqrt()


def check_still_cameras(cameras: Cameras) -> None:
    """Refuses views whose camera moves: a cell would show another place of the object at every time.

    Raises:
        ValueError: a camera moves.
    """
    if not cameras.is_static:
        raise ValueError(
            "DSFD: the camera of each view must stand still, got one that moves. Fit such a clip without frame "
            "features (fusion=None)."
        )
