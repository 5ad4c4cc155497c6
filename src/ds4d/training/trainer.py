"""The fit: a static stage on the middle frame, then all times, as a stream of events.

The trainer knows no screen and no folder: it yields what happened, and whoever drives it shows, logs and saves.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.init import nearest_rows
from ds4d.losses import LossConfig, LossInputs, Objective, ViewCorrection, ViewCorrectionConfig
from ds4d.losses.view_loss import ViewLoss
from ds4d.metrics import Lpips
from ds4d.scene import DynamicGaussians, Resampling, render_depths
from ds4d.training.cuda_graphs import CUDAGraphed, Readback
from ds4d.training.densification import DensityConfig, DensityControl, prune_outliers
from ds4d.training.events import DensityChanged, Event, StepDone, TrainingDiverged
from ds4d.training.images import TrainingImages
from ds4d.training.optimizers import OptimizerConfig, SceneOptimizer
from ds4d.training.sampling import Draw, Sampler
from ds4d.types import Cameras, Gaussians, MultiViewVideo, RawGaussians, Renderer, Rendering


@dataclass(frozen=True)
class FitConfig:
    """The schedule of a fit.

    Attributes:
        static_steps: steps on the middle frame alone, nothing deformed.
        dynamic_steps: steps over all times.
        static_views: views per step of the static stage.
        times_per_step: times per step of the dynamic stage.
        views_per_time: views of each of those times.
        window_growth: share of the dynamic stage during which the times looked at spread from the middle frame to the
            whole clip, so that large motion is followed frame by frame; 0 looks at all times at once.
        coarse_fraction: share of each stage fitted at half the image size.
        losses: the terms.
        view_correction: warps and color gains of the views with weight below 1; None takes them as they are.
        density: of the static and the dynamic stage together.
        optimizer: the learning rates.
        neighbors: per Gaussian, for losses that compare neighbors.
        image_budget: bytes of images kept on the device.
    """

    static_steps: int = 300
    dynamic_steps: int = 1500
    static_views: int = 7
    times_per_step: int = 4
    views_per_time: int = 2
    window_growth: float = 0.4
    coarse_fraction: float = 0.5
    losses: LossConfig = field(default_factory=LossConfig)
    view_correction: ViewCorrectionConfig | None = field(default_factory=ViewCorrectionConfig)
    density: DensityConfig = field(default_factory=DensityConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    neighbors: int = 8
    image_budget: int = 2 << 30

    def __post_init__(self) -> None:
        check_ranges(self, static_steps="[0, inf)", dynamic_steps="[0, inf)", static_views="[1, inf)")
        check_ranges(self, times_per_step="[1, inf)", views_per_time="[1, inf)", neighbors="[1, inf)")
        check_ranges(self, window_growth="[0, 1]", coarse_fraction="[0, 1]", image_budget="[0, inf)")

    @property
    def total_steps(self) -> int:
        """Both stages."""
        return self.static_steps + self.dynamic_steps


class Trainer:
    """Fits a scene to a clip.

    Args:
        scene: changed in place; its device is the fit's.
        video: with cameras in the scene's inner world.
        renderer: the splatter.
        config: the schedule.
        seed: of every random draw.
        lpips: the network of the loss `lpips`; without it that loss is left out.
        guide: a loss of images from cameras of its own, if any.
    """

    def __init__(
        self,
        scene: DynamicGaussians,
        video: MultiViewVideo,
        renderer: Renderer,
        config: FitConfig,
        seed: int,
        *,
        lpips: Lpips | None = None,
        guide: ViewLoss | None = None,
    ) -> None:
        self.scene = scene
        self.video = video
        self.renderer = renderer
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.sampler = Sampler(video.valid, self.generator)
        self.images = TrainingImages(video, scene.device, config.image_budget)
        self.guide = guide
        self._changes = CUDAGraphed(scene.motion.changes, scene.motion) if scene.motion else None
        self.density = DensityControl(config.density, scene.gaussians.num_gaussians, scene.device)
        self.cameras = video.cameras.to(scene.device)
        self.times = video.times.to(scene.device)
        self.view_correction = self._make_view_correction()
        self._update_warps()
        self.optimizer = SceneOptimizer(scene, config.optimizer, self.view_correction)
        self.objective = Objective(config.losses, lpips.to(scene.device) if lpips else None, self.view_correction)
        self._losses = CUDAGraphed(self.objective, self.objective)
        self.step = 0
        self.seconds = 0.0
        self.neighbors = self._find_neighbors()

    def run(self) -> Iterator[Event]:
        """Steps until the schedule ends; stop iterating at any event to interrupt, and iterate again to go on.

        After the last step `prune_outliers` may leave some Gaussians out, which one more `DensityChanged` tells.

        Raises:
            TrainingDiverged: a loss is NaN or Inf.
        """
        while self.step < self.config.total_steps:
            began = time.perf_counter()
            stage = "static" if self.is_static_stage else "dynamic"
            loss, terms = self._take_step()
            self.step += 1
            change = None
            if self.density.is_due(self.step, self.config.total_steps):
                change = self._change_density()
            self.seconds += time.perf_counter() - began
            yield StepDone(
                self.step,
                self.config.total_steps,
                stage,
                loss,
                terms,
                self.scene.gaussians.num_gaussians,
                self.seconds,
            )
            if change is not None:
                yield change
        strays = prune_outliers(self.scene.canonical(), self.scene.max_distances())
        if strays is not None:
            yield self._resample(strays)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: nested dicts of tensors, numbers and lists."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "scene": self.scene.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "density": self.density.state_dict(),
            "sampler": self.sampler.state_dict(),
            "generator": self.generator.get_state(),
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
        self.density.load_state_dict(state["density"])
        self.sampler.load_state_dict(state["sampler"])
        self.generator.set_state(state["generator"])
        self.neighbors = state["neighbors"].to(self.scene.device)
        self.step = state["step"]
        self.seconds = state["seconds"]

    @property
    def is_static_stage(self) -> bool:
        """Whether the next step belongs to the static stage."""
        return self.step < self.config.static_steps or self.scene.motion is None

    def _take_step(self) -> tuple[float, dict[str, float]]:
        if self._depths_are_due():
            self._update_depths()
        draw = self._draw()
        width, height = self._size()
        raw = self._gaussians_at(draw)
        cameras = self._cameras(draw, width, height)
        gaussians = raw.activate()
        renderings = [self.renderer.render(gaussians, cameras, backgrounds=draw.backgrounds.to(self.scene.device))]
        total, values = self._losses(self._inputs(draw, renderings[0], raw.means))
        if self.guide is not None:
            rendering, total, values[self.guide.name] = self._guided(self.guide, draw, gaussians, total)
            renderings.append(rendering)
        readback = Readback(torch.stack([total.detach(), *values.values()]))
        total.backward()
        for rendering in renderings:
            self._observe(rendering)
        self.optimizer.step(self._progress())
        loss, *parts = readback.wait()
        terms = dict(zip(values, parts, strict=True))
        if not all(map(math.isfinite, (loss, *parts))):
            raise TrainingDiverged(self.step + 1, terms)
        return loss, terms

    def _guided(
        self, guide: ViewLoss, draw: Draw, gaussians: Gaussians, total: Tensor
    ) -> tuple[Rendering, Tensor, Tensor]:
        """Images from the guide's cameras, the total with its loss, and the loss before its weight."""
        progress = (self.step + 1) / self.config.total_steps
        request = guide.request(draw.times, progress, self.generator)
        cameras, backgrounds = request.cameras.to(self.scene.device), request.backgrounds.to(self.scene.device)
        rendering = self.renderer.render(gaussians, cameras, backgrounds=backgrounds)
        value = guide.loss(request, rendering)
        total = guide.weight_of_others(progress) * total + guide.weight * value
        return rendering, total, value.detach()

    def _observe(self, rendering: Rendering) -> None:
        """Lets density control see how the images pull at the Gaussians."""
        grad2d = rendering.info["means2d"].grad
        assert grad2d is not None  # the renderer retains it
        height, width = rendering.colors.shape[-2:]
        self.density.observe(grad2d, rendering.info["radii"], (width, height))

    def _depths_are_due(self) -> bool:
        """Whether what hides a point is to be drawn anew: as the dynamic stage begins, and on its schedule then."""
        motion = self.scene.motion
        if self.is_static_stage or motion is None or motion.tssf is None or not motion.tssf.needs_depths:
            return False
        done = self.step - self.config.static_steps
        total = self.config.total_steps
        return done % motion.tssf.config.depth_every == 0 or self.density.is_due(self.step, total)

    def _gaussians_at(self, draw: Draw) -> RawGaussians:
        raw = self.scene.canonical()
        if self.is_static_stage:
            return raw.expand_times(len(draw.times))
        motion = self.scene.motion
        assert motion is not None and self._changes is not None  # a scene that does not move is always static
        rows = draw.times.to(self.scene.device)
        observation = None
        if motion.features is not None:
            self._update_warps()
            observation = motion.features.at_frames(rows)
        changes = self._changes(raw.means, self.times[rows], observation)
        return motion.field.apply_changes(raw, changes)

    @torch.no_grad()
    def _update_warps(self) -> None:
        """Hands the current warps of the view correction to the features, which are read through them."""
        motion = self.scene.motion
        if self.view_correction is not None and motion is not None and motion.features is not None:
            motion.features.update_warps(self.view_correction.at_times(self.times))

    def _update_depths(self) -> None:
        """Renders the depth images of all frames that the occlusion test reads."""
        assert self.scene.motion is not None and self.scene.motion.features is not None
        rows = torch.arange(len(self.times), device=self.scene.device)
        self.scene.motion.features.update_depths(rows, render_depths(self.scene, self.renderer, rows))

    def _progress(self) -> float:
        """How far the dynamic stage has come, in [0, 1]; the static stage runs at the starting rates."""
        done = self.step - self.config.static_steps
        return max(0.0, done / max(1, self.config.dynamic_steps))

    def _draw(self) -> Draw:
        middle, last = self.video.middle, self.video.num_times - 1
        if self.is_static_stage and self.video.is_monocular_sweep:  # one side is no shape: every time shows another
            return self.sampler.draw((0, last), self.config.static_views, 1)
        if self.is_static_stage:
            return self.sampler.draw((middle, middle), 1, self.config.static_views)
        growth = self._progress() / self.config.window_growth if self.config.window_growth else 1.0
        reach = 1 + math.ceil(min(1.0, growth) * max(middle, last - middle))
        window = (max(0, middle - reach), min(last, middle + reach))
        return self.sampler.draw(window, self.config.times_per_step, self.config.views_per_time)

    def _size(self) -> tuple[int, int]:
        frames = self.video.frames
        static = self.is_static_stage
        done = self.step if static else self.step - self.config.static_steps
        steps = self.config.static_steps if static else self.config.dynamic_steps
        divisor = 2 if done < self.config.coarse_fraction * steps else 1
        return max(1, frames.width // divisor), max(1, frames.height // divisor)

    def _cameras(self, draw: Draw, width: int, height: int) -> Cameras:
        times, views = draw.times[:, None].to(self.scene.device), draw.views.to(self.scene.device)
        return self.cameras[times, views].resized(width, height)

    def _inputs(self, draw: Draw, rendering: Rendering, means: Tensor) -> LossInputs:
        height, width = rendering.colors.shape[-2:]
        times = draw.times[:, None].expand_as(draw.views).flatten()
        views = draw.views.flatten()
        truth = self.images.batch(times, views, width, height)
        backgrounds = draw.backgrounds.to(self.scene.device).flatten(0, 1)
        field = None if self.is_static_stage else self.scene.field
        return LossInputs(
            colors=rendering.colors.flatten(0, 1),
            alphas=rendering.alphas.flatten(0, 1),
            target_colors=truth.composite(backgrounds),
            target_alphas=truth.alphas,
            weights=self.images.weights(times, views, width, height),
            backgrounds=backgrounds,
            times=self.times[times.to(self.scene.device)],
            views=views.to(self.scene.device),
            spatial_planes=field.hexplane.spatial_planes() if field else [],
            temporal_planes=field.hexplane.temporal_planes() if field else [],
            canonical_means=self.scene.gaussians.means,
            means=means,
            neighbors=self.neighbors,
        )

    def _make_view_correction(self) -> ViewCorrection | None:
        """One for the views that are not fully trusted; none where all are."""
        uncertain = self.video.view_weights < 1
        if self.config.view_correction is None or not uncertain.any():
            return None
        return ViewCorrection(self.config.view_correction, uncertain).to(self.scene.device)

    def _change_density(self) -> DensityChanged:
        return self._resample(self.density.resampling(self.scene.canonical(), self.generator))

    def _resample(self, resampling: Resampling) -> DensityChanged:
        before = self.scene.gaussians.num_gaussians
        self.optimizer.resample(resampling)
        after = self.scene.gaussians.num_gaussians
        self.density.reset(after, self.scene.device)
        self.neighbors = self._find_neighbors()
        return DensityChanged(self.step, before, after)

    def _find_neighbors(self) -> Tensor:
        """Each Gaussian's neighbors where a loss asks for them; they stay until the set changes."""
        count = self.config.neighbors if self.objective.needs_neighbors else 0
        return nearest_rows(self.scene.gaussians.means.detach(), count)
