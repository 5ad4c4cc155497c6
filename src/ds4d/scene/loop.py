"""Playback that repeats without a jump."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.scene.base import Scene
from ds4d.types import Gaussians, RawGaussians

BLEND_FRACTION = 0.25  # of the duration, at its end


@dataclass(frozen=True)
class LoopJump:
    """Distances that the Gaussians jump when playback starts again.

    Attributes:
        mean: mean distance between a Gaussian at time 1 and at time 0, weighted by opacity, normalized units (the
            object has diameter 1).
        percentile_99: 99th percentile of the unweighted distances, normalized units.
    """

    mean: float
    percentile_99: float


def measure_jump(scene: Scene) -> LoopJump:
    """Measures the jump that a scene shows when it is repeated."""
    with torch.no_grad():
        ends = scene.at(torch.tensor([0.0, 1.0], device=scene.device))
    distances = (ends.means[1] - ends.means[0]).norm(dim=-1)
    weights = ends.opacities.mean(0)
    return LoopJump(float((distances * weights).sum() / weights.sum()), float(distances.quantile(0.99)))


class LoopedScene:
    """A scene whose Gaussians are equal at times 0 and 1.

    Over the last `BLEND_FRACTION` of the duration a growing part of the jump is added to every raw value, so the motion
    continues while it is blended into the start. Earlier times are unchanged.

    Args:
        scene: scene to repeat.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.timeline = replace(scene.timeline, loops=True)
        self.world = scene.world

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.scene.device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; equal at 0 and 1."""
        raw = self.scene.raw_at(times)
        late = ((times - (1 - BLEND_FRACTION)) / BLEND_FRACTION).clamp(0, 1)
        if not late.any():
            return raw
        ends = self.scene.raw_at(torch.tensor([0.0, 1.0], device=self.device))
        weight = late * late * (3 - 2 * late)  # smoothstep: continuous velocity at both ends

        def blend(values: Tensor, ends: Tensor) -> Tensor:
            jump = ends[0] - ends[1]
            return values + weight.reshape(-1, *[1] * jump.ndim) * jump

        names = ("means", "quats", "log_scales", "opacity_logits", *(("sh",) if raw.sh.ndim == 4 else ()))
        return replace(raw, **{name: blend(getattr(raw, name), getattr(ends, name)) for name in names})

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Activated Gaussians, ready to be rendered, at any times in [0, 1]; leading axis T, normalized space."""
        return self.raw_at(times).activate()
