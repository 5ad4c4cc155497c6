"""What a frozen extractor sees in the images."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.types.checks import check_shape


@dataclass(frozen=True)
class FrameFeatures:
    """What a frozen network or filter bank sees in every image of a clip (paper: f(i,j)).

    Attributes:
        maps: one vector of C channels per cell; half precision saves memory and is accurate enough.
        valid: which (time, view) pairs have an image; the others hold zeros.
    """

    maps: Float[Tensor, "T V C h w"]
    valid: Bool[Tensor, "T V"]

    def __post_init__(self) -> None:
        check_shape("FrameFeatures", "maps", self.maps, (None, None, None, None, None))
        if self.valid.shape != self.maps.shape[:2]:
            raise ValueError(
                f"FrameFeatures: valid must have the times and views of maps {list(self.maps.shape[:2])}, "
                f"got {list(self.valid.shape)}. Make both from the same clip."
            )


@dataclass(frozen=True)
class DecoupledFeatures:
    """Frame features as the sum of what they share with their view's reference and of the rest (paper: DSFD).

    Attributes:
        static: projection of each frame feature on the reference.
        dynamic: the remainder, orthogonal to the reference.
    """

    static: Float[Tensor, "T V C h w"]
    dynamic: Float[Tensor, "T V C h w"]

    def __post_init__(self) -> None:
        check_shape("DecoupledFeatures", "static", self.static, (None, None, None, None, None))
        if self.dynamic.shape != self.static.shape:
            raise ValueError(
                f"DecoupledFeatures: dynamic must have the shape of static {list(self.static.shape)}, "
                f"got {list(self.dynamic.shape)}."
            )

    @property
    def decoupled(self) -> Float[Tensor, "T V D h w"]:
        """The frame features and their dynamic part, one behind the other (paper: concat(f, dynamic))."""
        return torch.cat((self.static + self.dynamic, self.dynamic), dim=2)
