"""What every scene offers to those who render, score or export it, and the times of its video frames."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Gaussians, RawGaussians, Similarity


@dataclass(frozen=True)
class Timeline:
    """When the video's frames were taken, and how fast and in what way they are played.

    Attributes:
        times: times of the frames, rising, in [0, 1].
        duration: seconds from time 0 to time 1.
        loops: whether time 1 shows what time 0 shows, so that the video can be repeated without a jump.
    """

    times: tuple[float, ...]
    duration: float
    loops: bool

    @property
    def middle(self) -> int:
        """Index of the canonical frame, T // 2."""
        return len(self.times) // 2


@runtime_checkable
class Scene(Protocol):
    """A dynamic object that can be evaluated at any time.

    Attributes:
        timeline: times of the video's frames.
        world: similarity from world space to normalized space, in which the Gaussians are.
    """

    timeline: Timeline
    world: Similarity

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        ...

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; normalized space."""
        ...

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Activated Gaussians, ready to be rendered, at any times in [0, 1]; leading axis T, normalized space."""
        ...


def check_times(times: Float[Tensor, " T"]) -> None:
    """Refuses times outside [0, 1].

    Raises:
        ValueError: a time lies outside. Times on a GPU are not checked, as every step would have to wait for them;
            they are made on the CPU, and checked there.
    """
    if times.device.type == "cpu" and ((times < 0).any() or (times > 1).any()):
        raise ValueError(
            f"times must be in [0, 1], got {float(times.min())} to {float(times.max())}. Divide by the duration."
        )
