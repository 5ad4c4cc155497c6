"""Training: a static stage on the middle frame, then all times, as a stream of events.

The trainer prints nothing and writes no files: it yields events, and its caller shows, logs and saves.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import freed_memory_kept, release_pages
from ds4d.deformation import RootRotation
from ds4d.losses import Objective, ViewCorrection
from ds4d.losses.view_loss import ViewLoss
from ds4d.metrics import Lpips
from ds4d.scene import DynamicGaussians, DynamicGuide, Resampling, has_root
from ds4d.shapes import nearest_neighbors
from ds4d.training.averaging import AverageOfLast
from ds4d.training.births import Newborn, find_deaths, find_missing, find_newborn
from ds4d.training.cuda_graphs import EagerStep, Readback, Recordings, quick_collections
from ds4d.training.densification import Densification, isolated_gaussians, prune_outliers
from ds4d.training.depth_refresh import DepthRefresh
from ds4d.training.early_end import EarlyEnd
from ds4d.training.events import Event, GaussiansChanged, StepDone, TrainingDiverged
from ds4d.training.images import TrainingImages
from ds4d.training.optimizers import SceneOptimizer
from ds4d.training.ranks import Ranks, Share
from ds4d.training.sampling import SampleBatch, Sampler
from ds4d.training.schedule import Schedule, TrainingConfig
from ds4d.training.step import StepFunctions, StepInputs, StepKind
from ds4d.training.tracks import weights_of_frames
from ds4d.training.trimming import trimmed_lifetimes
from ds4d.types import Gaussians, MultiViewVideo, Renderer, Rendering

_STEPS_TO_SETTLE = 20  # after the last frames have come, before the rotation of the whole object is judged
_LEAST_TURN = math.radians(25)  # of the whole object; less is left to the field, which does it as well


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
        dynamics: the dynamic share of the features, which guides growth, sampling and what is held still, if any.
        known_frame: for a scene that continues another one (`ds4d.training.continuation`), a frame that it shows
            already: the sampled times spread from there, and the canonical Gaussians stay as they are. None: the
            canonical Gaussians are trained, and the times spread from the middle frame.
        new_gaussians: most Gaussians that may be added to those that stay (`ds4d.training.births`); only they are
            trained, cloned, split and pruned.
        ranks: this process among those that train the scene together; each has a trainer of its own.
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
        dynamics: DynamicGuide | None = None,
        known_frame: int | None = None,
        new_gaussians: int = 0,
        ranks: Ranks | None = None,
    ) -> None:
        self.scene = scene
        self.ranks = ranks or Ranks()
        self.num_fixed = 0 if known_frame is None else scene.num_gaussians  # the first Gaussians, which stay
        self.new_gaussians = new_gaussians if self.num_fixed else 0
        self._train_the_new()
        self.video = video
        self.renderer = renderer
        self.config = config
        self.guide, self.dynamics = guide, dynamics
        self.step = 0
        self.seconds = 0.0
        self.schedule = Schedule(config, video, scene.motion is not None, known_frame)
        self.generator = torch.Generator().manual_seed(seed)
        weights = dynamics.frame_weights if dynamics else None
        if weights is None and video.tracks is not None:
            weights = weights_of_frames(video.tracks)
        self.depths = DepthRefresh(scene, video, renderer, self.ranks)
        self.images = TrainingImages(video, scene.device, config.image_cache_bytes)
        self.early_end = EarlyEnd(scene, self.images, renderer, config, self.schedule, self.depths, self.ranks)
        self.sampler = Sampler(video.valid & ~self.early_end.held_out, self.generator, weights)
        self.view_correction = self._make_view_correction()
        density = config.densification
        if self.num_fixed:
            density = replace(density, max_gaussians=self.num_fixed + self.new_gaussians)
        self.densification = Densification(density, scene.gaussians.num_gaussians, scene.device)
        self.optimizer = SceneOptimizer(scene, config.optimizer, self.view_correction, self.num_fixed)
        self.average = AverageOfLast(scene)
        self.objective = Objective(config.losses, lpips.to(scene.device) if lpips else None, self.view_correction)
        self.functions = StepFunctions(scene, video, self.images, self.objective, self.view_correction, dynamics)
        self.functions.update_warps()
        self.functions.neighbors = self._find_neighbors()
        self.recordings = Recordings(self.functions, is_on=scene.device.type == "cuda")
        self.is_finished = False  # whether what follows the last step is done

    def run(self) -> Iterator[Event]:
        """Takes the remaining steps of the schedule.

        Iteration may stop at any event and continue later with another call. After the last step outliers are pruned,
        which may yield one more `GaussiansChanged`.

        Raises:
            TrainingDiverged: a loss is NaN or Inf.
            RankLostError: another process that trains the scene has ended.
        """
        state = self.ranks.from_first(self.state_dict() if self.ranks.is_first and self.ranks.count > 1 else None)
        if not self.ranks.is_first:
            self.load_state_dict(state)
        with freed_memory_kept(), quick_collections(self.scene.device):
            yield from self._take_steps()

    def _take_steps(self) -> Iterator[Event]:
        """The remaining steps of the schedule, and their densification."""
        while self.step < (total_steps := self.early_end.end_step):
            began = time.perf_counter()
            stage = "static" if self.is_static_stage else "dynamic"
            loss, terms = self._take_step()
            self.step += 1
            change = None
            if self._has_trained_gaussians and self.densification.is_due(self.step, total_steps):
                factors = self.dynamics.growth(self.scene) if self.dynamics else None
                resampling = self.densification.densify_and_prune(
                    self.scene.canonical(), self.generator, self.num_fixed, factors
                )
                change = self._resample(resampling)
            if self.step == self.schedule.births_step < total_steps:
                change = _joined(change, self._add_gaussians())
            if self.step == self.schedule.trim_step < total_steps:
                self._trim_lifetimes()
            if self.step > total_steps - self.config.averaged_steps:
                self.average.add()
            self.early_end.look(self.step)
            self.seconds += time.perf_counter() - began
            num_gaussians = self.scene.gaussians.num_gaussians
            yield StepDone(self.step, self.early_end.end_step, stage, loss, terms, num_gaussians, self.seconds)
            if change is not None:
                yield change
        if self.is_finished:
            return
        self.recordings.forget()  # its memory is needed no more
        self.average.apply()
        self.depths.update(torch.arange(self.video.num_times), self.step)
        pruned = self._pruned() if self._has_trained_gaussians else None
        change = None if pruned is None else self._resample(pruned)
        self.is_finished = True
        if change is not None:
            yield change

    def _pruned(self) -> Resampling | None:
        """What remains of the Gaussians after the last step, whose lives are trimmed first; None if all do."""
        self._trim_lifetimes()
        isolated = None if self.video.tracks is None else isolated_gaussians(self.scene)
        return prune_outliers(self.scene.canonical(), self.scene.max_distances(), self.num_fixed, isolated)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: nested dicts of tensors, numbers and lists."""
        state: dict[str, Any] = {
            "step": self.step,
            "is_finished": self.is_finished,
            "seconds": self.seconds,
            "scene": self.scene.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "early_end": self.early_end.state_dict(),
            "densification": self.densification.state_dict(),
            "sampler": self.sampler.state_dict(),
            "generator": self.generator.get_state(),
            "depth_steps": self.depths.steps,
            "neighbors": self.functions.neighbors,
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
        scene = state["scene"]
        self.scene.gaussians.resize(len(scene["gaussians.means"]), "gaussians.lifetimes" in scene)
        self._train_the_new()
        if not has_root(scene):
            self._drop_root()
        self.scene.load_state_dict(scene)
        if self.view_correction is not None:
            self.view_correction.load_state_dict(state["view_correction"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.early_end.load_state_dict(state["early_end"])
        self.densification.load_state_dict(state["densification"])
        self.sampler.load_state_dict(state["sampler"])
        self.generator.set_state(state["generator"])
        self.depths.steps = state["depth_steps"].clone()
        self.functions.neighbors = state["neighbors"].to(self.scene.device)
        self.recordings.forget()
        self.step = state["step"]
        self.is_finished = state["is_finished"]
        self.seconds = state["seconds"]

    @property
    def root(self) -> RootRotation | None:
        """The rotation of the whole object, if it is learned."""
        return self.scene.motion.root if self.scene.motion is not None else None

    @property
    def is_static_stage(self) -> bool:
        """Whether the next step belongs to the static stage."""
        return self.schedule.is_static(self.step)

    def _take_step(self) -> tuple[float, dict[str, float]]:
        """One step; returns the total loss and each loss before its weight."""
        batch = self.schedule.sample(self.step, self.sampler)
        is_settled = self.step == self.schedule.settling_step + _STEPS_TO_SETTLE
        if is_settled and self.root is not None and self.root.turn() < _LEAST_TURN:
            self._drop_root()
        kind = StepKind(self.is_static_stage, *self.schedule.image_size(self.step))
        if not kind.is_static:
            self.depths.update(batch.times, self.step)
        share = self.ranks.share(batch)
        inputs = StepInputs.of(share, self.scene.device)
        # A guide's renderings add to the loss, and images that are not on the device are read by the CPU.
        if self.guide is None and self.images.is_resident:
            step = self.recordings.step(kind, inputs, self.optimizer.trained())
        else:
            step = EagerStep(self.functions, kind, inputs)
        backgrounds = inputs.batch.backgrounds
        renderings = [self.renderer.render(step.gaussians, step.cameras, backgrounds=backgrounds)]
        if not kind.is_static:
            self.depths.keep(batch, share, inputs.batch, renderings[0], self.step)
        total, values = step.losses(renderings[0])
        if self.guide is not None:
            total, values[self.guide.name], more = self._guided(self.guide, batch, share, step.gaussians, total)
            renderings += more
        losses = torch.stack([total.detach(), *values.values()])
        self.ranks.add_up([losses])
        readback = Readback(losses)
        step.backward(total)
        self._add_up_gradients(share, renderings)
        self.optimizer.step(self.schedule.progress(self.step))
        release_pages()
        loss, *parts = readback.wait()
        terms = dict(zip(values, parts, strict=True))
        if not all(map(math.isfinite, (loss, *parts))):
            raise TrainingDiverged(self.step + 1, terms)
        return loss, terms

    def _guided(
        self, guide: ViewLoss, batch: SampleBatch, share: Share, gaussians: Gaussians, total: Tensor
    ) -> tuple[Tensor, Tensor, list[Rendering]]:
        """The total with the guide's loss, its loss before the weight, and its renderings.

        The guide's views of a time are rendered by the first process that has the time.
        """
        progress = (self.step + 1) / self.config.total_steps
        request = guide.request(batch.times, progress, self.generator)
        total = guide.weight_of_others(progress) * total
        if not share.leads:
            return total, torch.zeros_like(total), []
        if share.part is not None:
            request = request.at(share.times)
        cameras, backgrounds = request.cameras.to(self.scene.device), request.backgrounds.to(self.scene.device)
        rendering = self.renderer.render(gaussians, cameras, backgrounds=backgrounds)
        value = guide.loss(request, rendering)
        if share.part is not None:
            value = value * (len(share.batch.times) / len(batch.times))
        return total + guide.weight * value, value.detach(), [rendering]

    def _add_up_gradients(self, share: Share, renderings: list[Rendering]) -> None:
        """Sums the gradients of all processes, and accumulates those on the screen for densification."""
        on_screen = [_on_screen(rendering) for rendering in renderings]
        if self.ranks.count == 1:
            for measured in on_screen:
                self.densification.accumulate(*measured)
            return
        counted = [self.densification.measure(*measured) for measured in on_screen]
        if not share.part:  # the image of a process that has none of its own does not count
            counted[0] = (torch.zeros_like(counted[0][0]), torch.zeros_like(counted[0][1]))
        sums = [torch.stack(parts).sum(0) for parts in zip(*counted, strict=True)]
        self.ranks.add_up([*self.optimizer.gradients(), *sums])
        self.densification.add(*sums)

    @property
    def _has_trained_gaussians(self) -> bool:
        return self.scene.num_gaussians > self.num_fixed

    def _train_the_new(self) -> None:
        """Switches gradients of the Gaussians on if some of them are trained."""
        self.scene.gaussians.requires_grad_(self._has_trained_gaussians)

    def _add_gaussians(self) -> GaussiansChanged | None:
        """Adds Gaussians where those that stay, or those of an object that moves far, do not suffice."""
        if self.num_fixed:
            return self._revise_lifetimes()
        remaining = self.config.densification.max_gaussians - self.scene.num_gaussians
        is_wanted = self.config.densification.add_for_frames and self.video.tracks is not None
        if not is_wanted or self.scene.motion is None or remaining <= 0:
            return None
        found = None
        if self.ranks.is_first:
            generator = torch.Generator().manual_seed(self.step)
            found = find_missing(self.scene, self.video, self.renderer, remaining, generator)
        return self._append(self.ranks.from_first(found))

    def _trim_lifetimes(self) -> None:
        """Ends lives of Gaussians of an object that moves far where they stick out of it, or are loose."""
        is_wanted = self.config.densification.trim_lifetimes and self.video.tracks is not None
        if is_wanted and self.scene.motion is not None:
            self._set_lifetimes(trimmed_lifetimes(self.scene, self.video) if self.ranks.is_first else None)

    def _set_lifetimes(self, lifetimes: Float[Tensor, "N 2"] | None) -> None:
        """Gives all Gaussians the lifetimes that the first process has found, if any."""
        lifetimes = self.ranks.from_first(lifetimes)
        if lifetimes is not None:
            self.scene.gaussians.lifetimes = lifetimes.to(self.scene.device)
            self.recordings.forget()

    def _revise_lifetimes(self) -> GaussiansChanged | None:
        """Ends lives of Gaussians that are needed no more, and adds some where those that stay do not suffice."""
        found, about = None, (self.scene, self.video, self.renderer, self.schedule.known_frames)
        self._set_lifetimes(find_deaths(*about) if self.ranks.is_first else None)
        if self.ranks.is_first and self.new_gaussians:
            # A generator of its own, so that training goes on as it would have where nothing is found.
            found = find_newborn(*about, self.new_gaussians, torch.Generator().manual_seed(self.step))
        return self._append(self.ranks.from_first(found))

    def _append(self, found: Newborn | None) -> GaussiansChanged | None:
        if found is None:
            return None
        found = found.to(self.scene.device)
        change = self._resample(found.make_room(self.scene.canonical()))
        self.scene.gaussians.replace_last(found.raw, found.lifetimes)
        return change

    def _drop_root(self) -> None:
        """Leaves the rotation of the whole object to the field."""
        if self.scene.motion is None or self.root is None:
            return
        self.scene.motion.root = None
        self.optimizer.drop("root")
        self.average.forget()
        self.recordings.forget()

    def _resample(self, resampling: Resampling) -> GaussiansChanged:
        before = self.scene.gaussians.num_gaussians
        self.optimizer.resample(resampling)
        self.average.forget()
        after = self.scene.gaussians.num_gaussians
        self.densification.reset(after, self.scene.device)
        self.functions.neighbors = self._find_neighbors()
        self.recordings.forget()
        return GaussiansChanged(self.step, before, after)

    def _find_neighbors(self) -> Tensor:
        """Each Gaussian's nearest neighbors, for losses that need them; they stay until the Gaussians change."""
        count = self.config.neighbors if self.objective.needs_neighbors else 0
        return nearest_neighbors(self.scene.gaussians.means.detach(), count)

    def _make_view_correction(self) -> ViewCorrection | None:
        """A correction of the views with weight below 1, if there are any."""
        is_corrected = self.video.view_weights < 1
        if self.config.view_correction is None or not is_corrected.any():
            return None
        return ViewCorrection(self.config.view_correction, is_corrected).to(self.scene.device)


def _joined(first: GaussiansChanged | None, second: GaussiansChanged | None) -> GaussiansChanged | None:
    """Two changes of one step as one."""
    if first is None or second is None:
        return first or second
    return replace(second, before=first.before)


def _on_screen(rendering: Rendering) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The gradients of the centers on the screen, their radii, and the size of the images."""
    gradients = rendering.info["means2d"].grad
    assert gradients is not None  # the renderer retains it
    height, width = rendering.colors.shape[-2:]
    return gradients, rendering.info["radii"], (width, height)
