"""The training schedule: stages, image sizes and sampled times of each step."""

import math
from dataclasses import dataclass, field

from ds4d.core import check_ranges
from ds4d.losses import LossConfig, ViewCorrectionConfig
from ds4d.training.densification import DensificationConfig
from ds4d.training.optimizers import OptimizerConfig
from ds4d.training.sampling import SampleBatch, Sampler
from ds4d.types import MultiViewVideo

_BIRTHS = 1 / 6  # of the steps on all frames
_TRACKED_BIRTHS = 0.26  # of the dynamic steps, where the motion begins as it was tracked
_TRIMMED = 0.8  # fraction of the dynamic steps


@dataclass(frozen=True)
class TrainingConfig:
    """Schedule, losses and optimizer of training.

    Attributes:
        static_steps: steps of the static stage, on the middle frame without deformation.
        dynamic_steps: steps of the dynamic stage, on all times.
        static_views: views per step of the static stage.
        times_per_step: times per step of the dynamic stage.
        views_per_time: views per time of the dynamic stage.
        views_at_full_size: views per time once images have their full size, the input view always among them, in fits
            to generated views, which hold less detail than the input view; by default `views_per_time` of all.
        temporal_curriculum: fraction of the dynamic stage in which the sampled times spread from the middle frame to
            the whole video, so that large motion is followed frame by frame; 0 samples all times from the start, as do
            videos whose motion was tracked.
        low_resolution_fraction: fraction of each stage that is trained at half the image size.
        averaged_fraction: fraction of all steps, at the end, over which the parameters are averaged; their mean is the
            result. 0 keeps those of the last step.
        early_end_gain: gain in PSNR, dB, below which training ends before its last step: a sixteenth of the true images
            (at most 16) is held out and rendered every 50 steps once all frames are trained at full size; when two such
            looks in a row are not this much better than the best before, the averaged steps are the last. None takes
            all steps and holds nothing out.
        losses: weights of the losses.
        lpips_stand_in: whether the loss `lpips` uses VGG16 with random weights and equal heads in place of LPIPS's
            network, for experiments without its weights; the result is not LPIPS.
        lpips_stand_in_channels: channels of the stand-in's first layers; fewer than VGG16's 64, in all layers in
            proportion, are faster.
        view_correction: learned warps and color gains of the views with weight below 1 (generated views); None trains
            on these views as they are.
        densification: cloning, splitting and pruning of Gaussians, in both stages.
        optimizer: learning rates.
        neighbors: nearest neighbors per Gaussian that the loss `rigidity` compares.
        image_cache_bytes: size of the cache of training images on the device, bytes.
    """

    static_steps: int = 300
    dynamic_steps: int = 1500
    static_views: int = 7
    times_per_step: int = 4
    views_per_time: int = 2
    views_at_full_size: int | None = None
    temporal_curriculum: float = 0.4
    low_resolution_fraction: float = 0.5
    averaged_fraction: float = 0.04
    early_end_gain: float | None = None
    losses: LossConfig = field(default_factory=LossConfig)
    lpips_stand_in: bool = False
    lpips_stand_in_channels: int = 64
    view_correction: ViewCorrectionConfig | None = field(default_factory=ViewCorrectionConfig)
    densification: DensificationConfig = field(default_factory=DensificationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    neighbors: int = 8
    image_cache_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        check_ranges(self, static_steps="[0, 10000000]", dynamic_steps="[0, 10000000]", static_views="[1, inf)")
        check_ranges(self, times_per_step="[1, inf)", views_per_time="[1, inf)", neighbors="[1, inf)")
        check_ranges(self, lpips_stand_in_channels="[1, 1024]")
        check_ranges(self, temporal_curriculum="[0, 1]", low_resolution_fraction="[0, 1]", averaged_fraction="[0, 1]")
        check_ranges(self, image_cache_bytes="[0, inf)")
        if self.views_at_full_size is not None:
            check_ranges(self, views_at_full_size="[1, inf)")
        if self.early_end_gain is not None:
            check_ranges(self, early_end_gain="[0, inf)")

    @property
    def total_steps(self) -> int:
        """Number of steps of both stages."""
        return self.static_steps + self.dynamic_steps

    @property
    def averaged_steps(self) -> int:
        """Number of steps at the end whose parameters are averaged."""
        return round(self.averaged_fraction * self.total_steps)


class Schedule:
    """What each step trains on; steps are counted from 0.

    Args:
        config: settings of training.
        video: multi-view video to be trained on.
        is_dynamic: whether the scene has a motion; without one all steps are static.
        known_frame: frame from which the sampled times spread; the middle frame if None.
    """

    def __init__(
        self, config: TrainingConfig, video: MultiViewVideo, is_dynamic: bool, known_frame: int | None = None
    ) -> None:
        self._config = config
        self._video = video
        self._is_dynamic = is_dynamic
        self._may_add = known_frame is not None or video.tracks is not None
        # Large motion is known from the start where it was tracked; frames that wait their turn would lose it.
        self._curriculum = 0.0 if video.tracks is not None else config.temporal_curriculum
        self._origin = video.middle if known_frame is None else known_frame
        is_input = video.view_weights >= 1
        self._input_views = is_input.nonzero().squeeze(1).tolist() if not is_input.all() else []

    @property
    def births_step(self) -> int:
        """The step after which a scene that continues another one, or whose motion was tracked, may get more Gaussians.

        All frames were seen for a while then, so that their motion is known as far as it can be.
        """
        if self._video.tracks is not None:
            return self._config.static_steps + round(_TRACKED_BIRTHS * self._config.dynamic_steps)
        followed = self._curriculum
        return round((followed + _BIRTHS * (1 - followed)) * self._config.total_steps)

    @property
    def trim_step(self) -> int:
        """The step after which lives end where Gaussians stick out of a tracked object; others then fill the gaps."""
        return self._config.static_steps + round(_TRIMMED * self._config.dynamic_steps)

    @property
    def known_frames(self) -> range:
        """The frames that a scene shows from the start: from one end of the video to the known frame."""
        count = self._video.num_times
        return range(self._origin + 1) if self._origin < count / 2 else range(self._origin, count)

    def is_static(self, step: int) -> bool:
        """Whether a step belongs to the static stage."""
        return step < self._config.static_steps or not self._is_dynamic

    def progress(self, step: int) -> float:
        """Progress of the dynamic stage in [0, 1]; 0 in the static stage."""
        return max(0.0, (step - self._config.static_steps) / max(1, self._config.dynamic_steps))

    @property
    def settling_step(self) -> int:
        """The step from which on all frames are sampled."""
        return self._config.static_steps + round(self._curriculum * self._config.dynamic_steps)

    @property
    def converging_step(self) -> int:
        """The step from which on the schedule changes learning rates alone: all frames are sampled, at full size."""
        config = self._config
        at_full_size = config.static_steps + math.ceil(config.low_resolution_fraction * config.dynamic_steps)
        return max(self.settling_step, at_full_size, self.births_step if self._may_add else 0)

    def sample(self, step: int, sampler: Sampler) -> SampleBatch:
        """The batch of a step."""
        config, video = self._config, self._video
        middle, last = video.middle, video.num_times - 1
        if self.is_static(step) and video.is_monocular_sweep:  # one view per time: the shape needs all times
            return sampler.sample((0, last), config.static_views, 1)
        if self.is_static(step):
            return sampler.sample((middle, middle), 1, config.static_views)
        growth = self.progress(step) / self._curriculum if self._curriculum else 1.0
        origin = self._origin
        radius = 1 + math.ceil(min(1.0, growth) * max(origin, last - origin))
        window = (max(0, origin - radius), min(last, origin + radius))
        if config.views_at_full_size is not None and self._input_views and not self._is_half_size(step):
            return sampler.sample(window, config.times_per_step, config.views_at_full_size, self._input_views)
        return sampler.sample(window, config.times_per_step, config.views_per_time)

    def image_size(self, step: int) -> tuple[int, int]:
        """Width and height of the images of a step, pixels."""
        frames, divisor = self._video.frames, 2 if self._is_half_size(step) else 1
        return max(1, frames.width // divisor), max(1, frames.height // divisor)

    def _is_half_size(self, step: int) -> bool:
        config, is_static = self._config, self.is_static(step)
        done = step if is_static else step - config.static_steps
        steps = config.static_steps if is_static else config.dynamic_steps
        return done < config.low_resolution_fraction * steps
