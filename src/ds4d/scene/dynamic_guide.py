"""The dynamic share of the frame features (DSFD) as a guide of training, beside or instead of the fused features."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.decoupling import DecouplingConfig
from ds4d.fusion import mean_over_views
from ds4d.scene.dynamic_gaussians import DynamicGaussians
from ds4d.scene.dynamic_shares import dynamic_shares
from ds4d.types import FrameFeatures, MultiViewVideo

_FRAMES = 16  # at most, evenly spaced, over which the share of a Gaussian is averaged


class DynamicGuide:
    """How dynamic the features call frames and points: shares in [0, 1] (`dynamic_shares`).

    A point has the mean share of the views whose images hold it; what stands in front of it is not tested.

    Args:
        features: frame features of all frames and views.
        video: their video, with static cameras in normalized space.
        config: reference of the decoupling, and what is guided how much.
        device: device of training.
    """

    def __init__(
        self, features: FrameFeatures, video: MultiViewVideo, config: DecouplingConfig, device: torch.device
    ) -> None:
        self.config = config
        self.shares = dynamic_shares(features, config).to(device)
        self._valid = features.valid.float().to(device)
        self._times = video.times.to(device)
        self._cameras = video.cameras.at_time(0).to(device)

    @property
    def frame_weights(self) -> Float[Tensor, " T"] | None:
        """How often each frame is sampled, relative to a still one; None where all are equal."""
        if not self.config.frame_weight:
            return None
        images = self.shares.mean(dim=(-3, -2, -1)).sum(-1) / self._valid.sum(-1).clamp_min(1)
        return (1 + self.config.frame_weight * images / images.amax().clamp_min(1e-6)).cpu()

    @torch.no_grad()
    def of_points(self, points: Float[Tensor, "B N 3"], rows: Int[Tensor, " B"]) -> Float[Tensor, "B N"]:
        """The share of points at some frames; 1 where no view sees them: nothing is known there.

        Args:
            points: centers at B times, in the cameras' world.
            rows: frame index of each time.
        """
        return mean_over_views(
            self.shares[rows],
            points,
            self._cameras,
            valid=self._valid[rows],
            depths=None,
            warps=None,
            tolerance=1.0,  # of the depth test, which is off
            otherwise=1.0,
        )[..., 0]

    def stillness(self, points: Float[Tensor, "B N 3"], rows: Int[Tensor, " B"]) -> list[Float[Tensor, "B N"]]:
        """1 - `of_points`, as `LossInputs` takes it."""
        return [1 - self.of_points(points, rows)]

    @torch.no_grad()
    def growth(self, scene: DynamicGaussians) -> Float[Tensor, " N"] | None:
        """Factor of each Gaussian's gradient in densification, by its mean share over time; None where all are 1."""
        if not self.config.growth_weight:
            return None
        count = len(self._times)
        rows = torch.linspace(0, count - 1, min(count, _FRAMES)).round().long()
        shares = [self.of_points(scene.raw_at(self._times[part]).means, part) for part in rows.split(4)]
        return 1 + self.config.growth_weight * torch.cat(shares).mean(0)
