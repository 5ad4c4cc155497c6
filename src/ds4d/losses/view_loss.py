"""Losses of renderings without training images: they request cameras of their own, as score distillation does."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.types import Cameras, Rendering


@dataclass(frozen=True)
class RenderRequest:
    """Renderings that a loss requests at the times of the step, at any size.

    Attributes:
        cameras: V cameras for each of the step's T times [T, V], in normalized space.
        backgrounds: plain background colors in [0, 1].
    """

    cameras: Cameras
    backgrounds: Float[Tensor, "T V 3"]

    def at(self, times: slice) -> "RenderRequest":
        """The part of the request at some of the step's times, which one of several processes renders."""
        return replace(self, cameras=self.cameras[times], backgrounds=self.backgrounds[times])


@runtime_checkable
class ViewLoss(Protocol):
    """A term of the total loss. Its state must follow from the video alone, because checkpoints do not hold it."""

    name: str
    weight: float

    def request(self, times: Int[Tensor, " T"], progress: float, generator: torch.Generator) -> Any:
        """A `RenderRequest`, possibly a subclass with more that `loss` needs; all randomness must be the generator's.

        Args:
            times: frame indices of the step.
            progress: fraction of training done after the step, in (0, 1].
            generator: random generator of training.
        """
        ...

    def loss(self, request: Any, rendering: Rendering) -> Float[Tensor, ""]:
        """The loss of the requested renderings, before the weight: a mean over them."""
        ...

    def weight_of_others(self, progress: float) -> float:
        """A factor in [0, 1] on the other losses."""
        ...
