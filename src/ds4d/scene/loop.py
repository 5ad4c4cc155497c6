"""A clip whose end runs into its start."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.scene.scene import Scene
from ds4d.types import Gaussians, RawGaussians

BLENDED = 0.25  # share of the clip, at its end


@dataclass(frozen=True)
class LoopJump:
    """How far the end of a clip lies from its start.

    Attributes:
        mean: how far Gaussians move from time 1 to time 0, opaque ones first, as a share of the object's size.
        most: what 99 of 100 Gaussians stay below.
    """

    mean: float
    most: float


def measure_jump(scene: Scene) -> LoopJump:
    """The jump that playing the clip again and again would show; the object's size is the inner world's unit."""
    with torch.no_grad():
        ends = scene.at(torch.tensor([0.0, 1.0], device=scene.device))
    moved = (ends.means[1] - ends.means[0]).norm(dim=-1)
    weights = ends.opacities.mean(0)
    return LoopJump(float((moved * weights).sum() / weights.sum()), float(moved.quantile(0.99)))


class LoopedScene:
    """A scene that is at time 1 where it was at time 0.

    Over the last `BLENDED` of the clip every raw value is shifted by a growing part of the jump, so that the motion
    goes on while it is led back. Before that, nothing changes.

    Args:
        scene: what is played.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.clip = replace(scene.clip, loops=True)
        self.world = scene.world

    @property
    def device(self) -> torch.device:
        """Where the scene lives."""
        return self.scene.device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; equal at 0 and 1."""
        raw = self.scene.raw_at(times)
        late = ((times - (1 - BLENDED)) / BLENDED).clamp(0, 1)
        if not late.any():
            return raw
        ends = self.scene.raw_at(torch.tensor([0.0, 1.0], device=self.device))
        share = late * late * (3 - 2 * late)  # starts and ends without a jerk

        def led_back(values: Tensor, ends: Tensor) -> Tensor:
            jump = ends[0] - ends[1]
            return values + share.reshape(-1, *[1] * jump.ndim) * jump

        names = ("means", "quats", "log_scales", "opacity_logits", *(("sh",) if raw.sh.ndim == 4 else ()))
        return replace(raw, **{name: led_back(getattr(raw, name), getattr(ends, name)) for name in names})

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Gaussians ready to be drawn at any times in [0, 1], with a leading axis T; inner world."""
        return self.raw_at(times).activate()
