"""Losses of images that no camera took: they ask for cameras of their own and judge what is drawn from there."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.types import Cameras, Rendering


@dataclass(frozen=True)
class RenderRequest:
    """Images that a loss wants drawn, at the times of the step and at any size.

    Attributes:
        cameras: V for each of the step's T times [T, V], inner world.
        backgrounds: plain colors in [0, 1].
    """

    cameras: Cameras
    backgrounds: Float[Tensor, "T V 3"]


@runtime_checkable
class ViewLoss(Protocol):
    """One term of the sum. What it remembers must follow from the clip alone, as checkpoints do not hold it."""

    name: str
    weight: float

    def request(self, times: Int[Tensor, " T"], progress: float, generator: torch.Generator) -> Any:
        """A `RenderRequest`, with whatever else `loss` is to know; every random draw comes from the generator.

        Args:
            times: frames of the step.
            progress: share of the fit at the end of the step, in (0, 1].
            generator: the fit's.
        """
        ...

    def loss(self, request: Any, rendering: Rendering) -> Float[Tensor, ""]:
        """What the images that were asked for cost, before the weight."""
        ...

    def weight_of_others(self, progress: float) -> float:
        """A factor in [0, 1] on the rest of the sum."""
        ...
