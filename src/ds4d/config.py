"""All settings of a run."""

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
from ds4d.training import LogConfig, TrainingConfig
from ds4d.visualize import OutputsConfig


@dataclass(frozen=True)
class GenerateConfig:
    """Everything that decides what a run makes of its input.

    Attributes:
        views: where the views come from, and how folders of views are read.
        video: how videos are read.
        init: the first Gaussians.
        features: what is seen in every frame.
        decoupling: of the features into what stays and what moves (DSFD).
        fusion: of the views' features on the Gaussians (TSSF); None lets the HexPlane alone move them.
        field: what moves them; None for an object that stands still.
        training: training schedule, losses and densification.
        guidance: what a diffusion model thinks of sides that no view shows.
        outputs: images and videos.
        log: of the losses.
        seed: of every random draw.
        checkpoint_every: steps from one checkpoint to the next.
    """

    views: ViewsConfig = dataclasses.field(default_factory=ViewsConfig)
    video: VideoConfig = dataclasses.field(default_factory=VideoConfig)
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    features: FeaturesConfig = dataclasses.field(default_factory=FeaturesConfig)
    decoupling: DecouplingConfig = dataclasses.field(default_factory=DecouplingConfig)
    fusion: FusionConfig | None = dataclasses.field(default_factory=FusionConfig)
    field: FieldConfig | None = dataclasses.field(default_factory=FieldConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    guidance: GuidanceConfig = dataclasses.field(default_factory=GuidanceConfig)
    outputs: OutputsConfig = dataclasses.field(default_factory=OutputsConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    seed: int = 0
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        check_ranges(self, seed="[0, inf)", checkpoint_every="[1, inf)")
