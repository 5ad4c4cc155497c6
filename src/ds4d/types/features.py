"""Features of images."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.types.checks import check_shape


@dataclass(frozen=True)
class FrameFeatures:
    """Feature maps of all images of a video, by a frozen network or filter bank (paper: f(i,j)).

    Attributes:
        maps: feature maps, one vector of C channels per cell; half precision is accurate enough.
        valid: whether each (time, view) pair has an image; the maps of the others are zero.
    """

    maps: Float[Tensor, "T V C h w"]
    valid: Bool[Tensor, "T V"]

    def __post_init__(self) -> None:
        check_shape("FrameFeatures", "maps", self.maps, (None, None, None, None, None))
        if self.valid.shape != self.maps.shape[:2]:
            raise ValueError(
                f"FrameFeatures: valid must have the times and views of maps {list(self.maps.shape[:2])}, "
                f"got {list(self.valid.shape)}. Make both from the same video."
            )

    def to(self, device: torch.device) -> "FrameFeatures":
        """The same features on another device."""
        return FrameFeatures(self.maps.to(device), self.valid.to(device))


@dataclass(frozen=True)
class DecoupledFeatures:
    """Frame features split into a static and a dynamic part, whose sum they are (paper: DSFD).

    Attributes:
        static: projection of the frame features onto the reference of their view.
        dynamic: remainder, orthogonal to the reference.
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
        """Concatenation of the frame features and their dynamic part (paper: concat(f, dynamic))."""
        return torch.cat((self.static + self.dynamic, self.dynamic), dim=2)
