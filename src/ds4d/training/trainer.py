"""Training: a static stage on the middle frame, then all times, as a stream of events.

The trainer prints nothing and writes no files: it yields events, and its caller shows, logs and saves.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ds4d.core import freed_memory_kept, release_pages
from ds4d.losses import LossInputs, Objective, ViewCorrection
from ds4d.losses.view_loss import ViewLoss
from ds4d.metrics import Lpips
from ds4d.scene import DynamicGaussians, Resampling, render_depths
from ds4d.shapes import nearest_neighbors
from ds4d.training.cuda_graphs import CUDAGraphed, Readback, quick_collections
from ds4d.training.densification import Densification, prune_outliers
from ds4d.training.events import Event, GaussiansChanged, StepDone, TrainingDiverged
from ds4d.training.images import TrainingImages
from ds4d.training.optimizers import SceneOptimizer
from ds4d.training.sampling import SampleBatch, Sampler
from ds4d.training.schedule import Schedule, TrainingConfig
from ds4d.types import Cameras, Gaussians, MultiViewVideo, Renderer, Rendering

_DEPTHS_AT_ONCE = 16  # frames whose depth images are rendered before they are stored


class Trainer:
    """Trains a scene on a multi-view video.

    Args:
        scene: scene to be trained, changed in place; its device is the device of training.
        video: multi-view video with cameras in normalized space.
        renderer: renderer for the scene's device.
        config: settings of training.
        seed: random seed.
        lpips: network of the loss `lpips`, which is left out without it.
        guide: loss that renders from cameras of its own, such as score distillation, if any.
        known_frame: for a scene that continues another one (`ds4d.training.continuation`), a frame that it shows
            already: the sampled times spread from there, and the canonical Gaussians stay as they are. None: the
            canonical Gaussians are trained, and the times spread from the middle frame.
    """

    def __init__(
        self,
        scene: DynamicGaussians,
        video: MultiViewVideo,
        renderer: Renderer,
        config: TrainingConfig,
        seed: int,
        *,
        lpips: Lpips | None = None,
        guide: ViewLoss | None = None,
        known_frame: int | None = None,
    ) -> None:
        self.scene = scene
        self.has_fixed_gaussians = known_frame is not None
        scene.gaussians.requires_grad_(not self.has_fixed_gaussians)
        self.video = video
        self.renderer = renderer
        self.config = config
        self.guide = guide
        self.step = 0
        self.seconds = 0.0
        self.cameras = video.cameras.to(scene.device)
        self.times = video.times.to(scene.device)
        self._resized: dict[tuple[int, int], Cameras] = {}
        self.schedule = Schedule(config, video, scene.motion is not None, known_frame)
        self.generator = torch.Generator().manual_seed(seed)
        self.sampler = Sampler(video.valid, self.generator)
        self.stale_depths = torch.ones(video.num_times, dtype=torch.bool)  # frames whose depth images are outdated
        self.images = TrainingImages(video, scene.device, config.image_cache_bytes)
        self.view_correction = self._make_view_correction()
        self._update_warps()
        self.densification = Densification(config.densification, scene.gaussians.num_gaussians, scene.device)
        self.optimizer = SceneOptimizer(scene, config.optimizer, self.view_correction)
        self.objective = Objective(config.losses, lpips.to(scene.device) if lpips else None, self.view_correction)
        self.neighbors = self._find_neighbors()
        self._motion_changes = CUDAGraphed(scene.motion.changes, scene.motion) if scene.motion else None
        self._losses = CUDAGraphed(self.objective, self.objective)

    def run(self) -> Iterator[Event]:
        """Takes the remaining steps of the schedule.

        Iteration may stop at any event and continue later with another call. After the last step outliers are pruned,
        which may yield one more `GaussiansChanged`.

        Raises:
            TrainingDiverged: a loss is NaN or Inf.
        """
        with freed_memory_kept(), quick_collections(self.scene.device):
            yield from self._take_steps()
        self._update_depths(torch.arange(self.video.num_times))
        pruned = prune_outliers(self.scene.canonical(), self.scene.max_distances())
        if pruned is not None:
            yield self._resample(pruned)

    def _take_steps(self) -> Iterator[Event]:
        """The remaining steps of the schedule, and their densification."""
        total_steps = self.config.total_steps
        while self.step < total_steps:
            began = time.perf_counter()
            stage = "static" if self.is_static_stage else "dynamic"
            loss, terms = self._take_step()
            self.step += 1
            change = None
            if not self.has_fixed_gaussians and self.densification.is_due(self.step, total_steps):
                change = self._resample(self.densification.densify_and_prune(self.scene.canonical(), self.generator))
            self.seconds += time.perf_counter() - began
            num_gaussians = self.scene.gaussians.num_gaussians
            yield StepDone(self.step, total_steps, stage, loss, terms, num_gaussians, self.seconds)
            if change is not None:
                yield change
        self._update_depths(torch.arange(self.video.num_times))
        if self.has_fixed_gaussians:
            return
        pruned = prune_outliers(self.scene.canonical(), self.scene.max_distances())
        if pruned is not None:
            yield self._resample(pruned)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: nested dicts of tensors, numbers and lists."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "scene": self.scene.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "densification": self.densification.state_dict(),
            "sampler": self.sampler.state_dict(),
            "generator": self.generator.get_state(),
            "stale_depths": self.stale_depths,
            "neighbors": self.neighbors,
        }
        if self.view_correction is not None:
            state["view_correction"] = self.view_correction.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken, with the same video and config.

        On the CPU the steps that follow equal those of an uninterrupted run bit for bit.

        Raises:
            KeyError: a part of the state is missing.
            RuntimeError: the state belongs to a scene of another shape.
        """
        self.scene.gaussians.resize(len(state["scene"]["gaussians.means"]))
        self.scene.load_state_dict(state["scene"])
        if self.view_correction is not None:
            self.view_correction.load_state_dict(state["view_correction"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.densification.load_state_dict(state["densification"])
        self.sampler.load_state_dict(state["sampler"])
        self.generator.set_state(state["generator"])
        self.stale_depths = state["stale_depths"].clone()
        self.neighbors = state["neighbors"].to(self.scene.device)
        self.step = state["step"]
        self.seconds = state["seconds"]

    @property
    def is_static_stage(self) -> bool:
        """Whether the next step belongs to the static stage."""
        return self.schedule.is_static(self.step)

    def _take_step(self) -> tuple[float, dict[str, float]]:
        """One step; returns the total loss and each loss before its weight."""
        if self._depths_are_due():
            self.stale_depths[:] = True
        batch = self.schedule.sample(self.step, self.sampler)
        if not self.is_static_stage:
            self._update_depths(batch.times)
        there = batch.on(self.scene.device)
        gaussians = self._gaussians_at(there)
        renderings = [self.renderer.render(gaussians, self._cameras(there), backgrounds=there.backgrounds)]
        chosen = there if self.images.is_resident else batch
        total, values = self._losses(self._loss_inputs(chosen, there, renderings[0], gaussians.means))
        if self.guide is not None:
            rendering, total, values[self.guide.name] = self._guided(self.guide, batch, gaussians, total)
            renderings.append(rendering)
        readback = Readback(torch.stack([total.detach(), *values.values()]))
        total.backward()
        for rendering in renderings:
            self._accumulate_gradients(rendering)
        self.optimizer.step(self.schedule.progress(self.step))
        release_pages()
        loss, *parts = readback.wait()
        terms = dict(zip(values, parts, strict=True))
        if not all(map(math.isfinite, (loss, *parts))):
            raise TrainingDiverged(self.step + 1, terms)
        return loss, terms

    def _gaussians_at(self, batch: SampleBatch) -> Gaussians:
        """The Gaussians at the times of the batch, which is on the device."""
        raw = self.scene.canonical()
        if self.is_static_stage:
            return raw.expand_times(len(batch.times)).activate()
        motion = self.scene.motion
        assert motion is not None and self._motion_changes is not None  # without a motion every step is static
        observation = None
        if motion.features is not None:
            self._update_warps()
            observation = motion.features.at_frames(batch.times)
        changes = self._motion_changes(raw.means, self.times[batch.times], observation)
        return motion.field.activated(raw, changes)

    def _cameras(self, batch: SampleBatch) -> Cameras:
        """The cameras of the batch, which is on the device."""
        size = self.schedule.image_size(self.step)
        if size not in self._resized:  # made once: each new tensor would wait for the GPU
            self._resized[size] = self.cameras.resized(*size)
        return self._resized[size][batch.times[:, None], batch.views]

    def _loss_inputs(self, chosen: SampleBatch, batch: SampleBatch, rendering: Rendering, means: Tensor) -> LossInputs:
        """What the losses read of one batch: `chosen` is where the images are chosen, `batch` on the device."""
        height, width = rendering.colors.shape[-2:]
        times, views = _pairs(chosen)
        target = self.images.batch(times, views, width, height)
        weights = self.images.weights(times, views, width, height)
        times, views = _pairs(batch)
        backgrounds = batch.backgrounds.flatten(0, 1)
        field = None if self.is_static_stage else self.scene.field
        return LossInputs(
            colors=rendering.colors.flatten(0, 1),
            alphas=rendering.alphas.flatten(0, 1),
            target_colors=target.composite(backgrounds),
            target_alphas=target.alphas,
            weights=weights,
            backgrounds=backgrounds,
            times=self.times[times],
            views=views,
            spatial_planes=field.hexplane.spatial_planes() if field else [],
            temporal_planes=field.hexplane.temporal_planes() if field else [],
            canonical_means=self.scene.gaussians.means,
            means=means,
            neighbors=self.neighbors,
        )

    def _guided(
        self, guide: ViewLoss, batch: SampleBatch, gaussians: Gaussians, total: Tensor
    ) -> tuple[Rendering, Tensor, Tensor]:
        """The guide's rendering, the total with its loss, and its loss before the weight."""
        progress = (self.step + 1) / self.config.total_steps
        request = guide.request(batch.times, progress, self.generator)
        cameras, backgrounds = request.cameras.to(self.scene.device), request.backgrounds.to(self.scene.device)
        rendering = self.renderer.render(gaussians, cameras, backgrounds=backgrounds)
        value = guide.loss(request, rendering)
        return rendering, guide.weight_of_others(progress) * total + guide.weight * value, value.detach()

    def _accumulate_gradients(self, rendering: Rendering) -> None:
        gradients = rendering.info["means2d"].grad
        assert gradients is not None  # the renderer retains it
        height, width = rendering.colors.shape[-2:]
        self.densification.accumulate(gradients, rendering.info["radii"], (width, height))

    def _resample(self, resampling: Resampling) -> GaussiansChanged:
        before = self.scene.gaussians.num_gaussians
        self.optimizer.resample(resampling)
        after = self.scene.gaussians.num_gaussians
        self.densification.reset(after, self.scene.device)
        self.neighbors = self._find_neighbors()
        return GaussiansChanged(self.step, before, after)

    def _find_neighbors(self) -> Tensor:
        """Each Gaussian's nearest neighbors, for losses that need them; they stay until the Gaussians change."""
        count = self.config.neighbors if self.objective.needs_neighbors else 0
        return nearest_neighbors(self.scene.gaussians.means.detach(), count)

    def _depths_are_due(self) -> bool:
        """Whether all depth images are outdated from this step on: at regular intervals, and after densification."""
        motion = self.scene.motion
        if self.is_static_stage or motion is None or motion.tssf is None:
            return False
        done = self.step - self.config.static_steps
        is_densified = self.densification.is_due(self.step, self.config.total_steps)
        return done % motion.tssf.config.depth_every == 0 or is_densified

    def _update_depths(self, frames: Tensor) -> None:
        """Renders the outdated depth images among these frames, which the occlusion test of the fusion reads next."""
        motion = self.scene.motion
        if motion is None or motion.tssf is None or motion.features is None or not motion.tssf.config.needs_depths:
            return
        outdated = frames[self.stale_depths[frames]]
        for some in outdated.split(_DEPTHS_AT_ONCE) if len(outdated) else ():
            rows = some.to(self.scene.device)
            motion.features.update_depths(rows, render_depths(self.scene, self.renderer, rows))
            self.stale_depths[some] = False
            release_pages()

    @torch.no_grad()
    def _update_warps(self) -> None:
        """Passes the current warps of the view correction to the features, which are read through them."""
        motion = self.scene.motion
        if self.view_correction is not None and motion is not None and motion.features is not None:
            motion.features.update_warps(self.view_correction.at_times(self.times))

    def _make_view_correction(self) -> ViewCorrection | None:
        """A correction of the views with weight below 1, if there are any."""
        is_corrected = self.video.view_weights < 1
        if self.config.view_correction is None or not is_corrected.any():
            return None
        return ViewCorrection(self.config.view_correction, is_corrected).to(self.scene.device)


def _pairs(batch: SampleBatch) -> tuple[Tensor, Tensor]:
    """Frame and view index of each image of a batch."""
    return batch.times[:, None].expand_as(batch.views).flatten(), batch.views.flatten()
