"""The settings of a run."""

import dataclasses
from dataclasses import dataclass

from ds4d.core import check_ranges
from ds4d.decoupling import DecouplingConfig
from ds4d.deformation import FieldConfig
from ds4d.features import FeaturesConfig
from ds4d.fusion import FusionConfig
from ds4d.guidance import GuidanceConfig
from ds4d.init import InitConfig
from ds4d.multiview import ViewsConfig
from ds4d.preprocess import VideoConfig
from ds4d.training import LogConfig, TrainingConfig, WindowsConfig
from ds4d.visualize import OutputsConfig


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of a run.

    Attributes:
        views: source of the training views.
        video: reading, matting and framing of videos.
        init: initialization of the Gaussians.
        features: per-frame image features.
        decoupling: decoupling of static and dynamic features (DSFD).
        fusion: fusion of the views' features at the Gaussians (TSSF); None leaves the motion to the HexPlane alone.
        field: deformation field; None for a static object.
        training: training schedule, losses and densification.
        windows: division of a long clip into windows of frames, which bounds memory and keeps the detail of each part.
        guidance: score distillation (SDS) from Zero123-XL on unseen views.
        outputs: rendered images and videos.
        log: logging of the losses.
        seed: random seed.
        checkpoint_every: number of steps between checkpoints.
        checkpoint_seconds: time of training after which there is one in any case, seconds; longer where writing one
            takes more than 2 % of it; by default, steps alone count.
        allow_missing_weights: what to do without the weights of pretrained networks. False: refuse the run; `auto`
            views and features use the networks. True: views and features that are left to `auto` come from parts
            without weights, the losses LPIPS and SDS are off, and each is reported. None: the same, but what `auto`
            chooses is not reported. A view generator or extractor that is named needs its weights in any case.
    """

    views: ViewsConfig = dataclasses.field(default_factory=ViewsConfig)
    video: VideoConfig = dataclasses.field(default_factory=VideoConfig)
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    features: FeaturesConfig = dataclasses.field(default_factory=FeaturesConfig)
    decoupling: DecouplingConfig = dataclasses.field(default_factory=DecouplingConfig)
    fusion: FusionConfig | None = dataclasses.field(default_factory=FusionConfig)
    field: FieldConfig | None = dataclasses.field(default_factory=FieldConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    windows: WindowsConfig = dataclasses.field(default_factory=WindowsConfig)
    guidance: GuidanceConfig = dataclasses.field(default_factory=GuidanceConfig)
    outputs: OutputsConfig = dataclasses.field(default_factory=OutputsConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    seed: int = 0
    checkpoint_every: int = 500
    checkpoint_seconds: float | None = None
    allow_missing_weights: bool | None = None

    def __post_init__(self) -> None:
        check_ranges(self, seed="[0, inf)", checkpoint_every="[1, inf)")
        if self.checkpoint_seconds is not None:
            check_ranges(self, checkpoint_seconds="(0, inf)")
        if self.field is not None and self.field.dynamic_gate and self.fusion is None:
            raise ValueError("field.dynamic_gate must go with fusion, got none. Leave fusion on, or the gate off.")

    @property
    def is_guided(self) -> bool:
        """Whether the dynamic share of the features (DSFD) guides training, beside or instead of their fusion."""
        weights = (self.decoupling.loss_weight, self.decoupling.growth_weight, self.decoupling.frame_weight)
        return any(weights) or self.training.losses.stillness > 0
