"""What a training step computes on the device: Gaussians and cameras before the renderer, losses after it.

Both parts are functions of `StepInputs` and of parameters and buffers that stay where they are, wait for nothing and
make nothing on the CPU, so that they can be recorded as CUDA graphs (`ds4d.training.cuda_graphs`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.losses import LossInputs, Objective, ViewCorrection
from ds4d.scene import DynamicGaussians, DynamicGuide
from ds4d.scene.lifetimes import without_dead
from ds4d.training.images import TrainingImages
from ds4d.training.ranks import Share
from ds4d.training.sampling import SampleBatch
from ds4d.types import Cameras, Gaussians, MultiViewVideo

_LEAST_TRUST = 0.1  # in generated views, relative to those of an object that does not turn


class StepKind(NamedTuple):
    """What is alike in all steps that one recording serves.

    Attributes:
        is_static: whether the step belongs to the static stage.
        width: width of its images, pixels.
        height: height of its images, pixels.
    """

    is_static: bool
    width: int
    height: int


@dataclass(frozen=True)
class StepInputs:
    """What a step is given.

    Attributes:
        batch: its times, views and backgrounds, on the device.
        host_batch: the same on the CPU.
        all_views: view indices of the images of all processes, on the device; None for one process.
        part: number of this process's images by that of all; None for one process.
    """

    batch: SampleBatch
    host_batch: SampleBatch
    all_views: Int[Tensor, " A"] | None = None
    part: Float[Tensor, ""] | None = None

    @classmethod
    def of(cls, share: Share, device: torch.device) -> "StepInputs":
        """Those of the images that one process renders."""
        all_views = None if share.all_views is None else share.all_views.to(device)
        part = None if share.part is None else torch.tensor(share.part, device=device)
        return cls(share.batch.on(device), share.batch, all_views, part)

    def shapes(self) -> tuple[torch.Size | None, ...]:
        """The shapes of what is on the device."""
        return tuple(None if tensor is None else tensor.shape for tensor in self._tensors())

    def copied(self) -> "StepInputs":
        """A copy of what is on the device."""
        batch = SampleBatch(self.batch.times.clone(), self.batch.views.clone(), self.batch.backgrounds.clone())
        more = (None if tensor is None else tensor.clone() for tensor in (self.all_views, self.part))
        return StepInputs(batch, self.host_batch, *more)

    def copy_(self, other: "StepInputs") -> None:
        """Writes what another one of the same shapes has on the device into the tensors of this one."""
        for own, given in zip(self._tensors(), other._tensors(), strict=True):
            if own is not None and given is not None:
                own.copy_(given)

    def _tensors(self) -> tuple[Tensor | None, ...]:
        batch = self.batch
        return batch.times, batch.views, batch.backgrounds, self.all_views, self.part


class StepFunctions:
    """The two differentiable parts of a step.

    Args:
        scene: scene that is trained.
        video: multi-view video with cameras in normalized space.
        images: its training images.
        objective: the losses.
        view_correction: correction of the generated views, if any.
        dynamics: the dynamic share of the features, if it is used.

    Attributes:
        neighbors: indices of each Gaussian's nearest neighbors, for losses that need them.
    """

    def __init__(
        self,
        scene: DynamicGaussians,
        video: MultiViewVideo,
        images: TrainingImages,
        objective: Objective,
        view_correction: ViewCorrection | None,
        dynamics: DynamicGuide | None,
    ) -> None:
        self.neighbors = torch.zeros(scene.num_gaussians, 0, dtype=torch.int64, device=scene.device)
        self._scene, self._images, self._objective = scene, images, objective
        self._view_correction, self._dynamics = view_correction, dynamics
        self._cameras = video.cameras.to(scene.device)
        self._times = video.times.to(scene.device)
        self._is_generated = video.view_weights.to(scene.device) < 1
        self._resized: dict[tuple[int, int], Cameras] = {}

    def gaussians(self, kind: StepKind, inputs: StepInputs) -> Gaussians:
        """The Gaussians at the times of the step; those that do not live have opacity 0."""
        gaussians = self._moved(kind, inputs.batch)
        alive = self._scene.alive_at(self._times[inputs.batch.times])
        return gaussians if alive is None else without_dead(gaussians, alive)

    def cameras(self, kind: StepKind, inputs: StepInputs) -> Cameras:
        """The cameras [T, V] of the step."""
        size = kind.width, kind.height
        if size not in self._resized:  # made once: each new tensor would wait for the GPU
            self._resized[size] = self._cameras.resized(*size)
        return self._resized[size][inputs.batch.times[:, None], inputs.batch.views]

    def losses(
        self,
        kind: StepKind,
        inputs: StepInputs,
        colors: Float[Tensor, "T V 3 H W"],
        alphas: Float[Tensor, "T V 1 H W"],
        means: Float[Tensor, "T N 3"],
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total loss, and each loss before its weight (detached), by name.

        Args:
            kind: kind of the step.
            inputs: what the step is given.
            colors: rendered colors over the backgrounds.
            alphas: rendered opacity.
            means: centers of the Gaussians that were rendered.
        """
        batch, images, scene = inputs.batch, self._images, self._scene
        times, views = (batch if images.is_resident else inputs.host_batch).pairs()
        target = images.batch(times, views, kind.width, kind.height)
        weights = images.weights(times, views, kind.width, kind.height)
        times, views = batch.pairs()
        if (root := scene.motion.root if scene.motion is not None else None) is not None:
            # The more sides the video shows in turn, the less its generated views, which are guesses, count.
            unseen = 1 - (root.turn() / (2 * math.pi)).clamp(max=1)
            trust = unseen.square().clamp_min(_LEAST_TRUST)
            weights = weights * torch.where(self._is_generated[views], trust, 1.0)[:, None, None, None]
        backgrounds = batch.backgrounds.flatten(0, 1)
        field = None if kind.is_static else scene.field
        still = []
        if self._dynamics is not None and field is not None and self._objective.holds_still:
            still = self._dynamics.stillness(means, batch.times)
        return self._objective(
            LossInputs(
                colors=colors.flatten(0, 1),
                alphas=alphas.flatten(0, 1),
                target_colors=target.composite(backgrounds),
                target_alphas=target.alphas,
                weights=weights,
                backgrounds=backgrounds,
                times=self._times[times],
                views=views,
                still=still,
                spatial_planes=field.hexplane.spatial_planes() if field else [],
                temporal_planes=field.hexplane.temporal_planes() if field else [],
                canonical_means=scene.gaussians.means,
                means=means,
                neighbors=self.neighbors,
                all_views=inputs.all_views,
                part=inputs.part,
            )
        )

    def _moved(self, kind: StepKind, batch: SampleBatch) -> Gaussians:
        """All Gaussians at the times of the batch, as if they lived at all of them."""
        raw, motion = self._scene.canonical(), self._scene.motion
        if kind.is_static:
            return raw.expand_times(len(batch.times)).activate()
        assert motion is not None  # without a motion every step is static
        observation = None
        if motion.features is not None:
            self.update_warps()
            observation = motion.features.at_frames(batch.times)
        times = self._times[batch.times]
        return motion.activated(raw, motion.changes(raw.means, times, observation), times)

    @torch.no_grad()
    def update_warps(self) -> None:
        """Passes the current warps of the view correction to the features, which are read through them."""
        motion = self._scene.motion
        if self._view_correction is not None and motion is not None and motion.features is not None:
            motion.features.update_warps(self._view_correction.at_times(self._times))
