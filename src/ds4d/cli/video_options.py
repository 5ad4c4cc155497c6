"""Options of the input that are named otherwise than its settings."""

from dataclasses import dataclass, field, fields
from typing import Annotated

import tyro

from ds4d.multiview import GeneratorSettings, ViewsConfig, ViewsSource
from ds4d.preprocess import VideoConfig


@dataclass(frozen=True)
class VideoOptions(VideoConfig):
    """How a video is read and cut out; its size and rate are those of the views."""

    size: Annotated[int, tyro.conf.Fixed, tyro.conf.Suppress] = VideoConfig.size
    fps: Annotated[float | None, tyro.conf.Fixed, tyro.conf.Suppress] = VideoConfig.fps

    @staticmethod
    def of(config: VideoConfig) -> "VideoOptions":
        """Settings as options."""
        return VideoOptions(**{field.name: getattr(config, field.name) for field in fields(VideoConfig)})

    def settings(self) -> VideoConfig:
        """Options as settings."""
        return VideoConfig(**{field.name: getattr(self, field.name) for field in fields(VideoConfig)})


@dataclass(frozen=True)
class ViewsOptions(ViewsConfig):
    """Source of the training views."""

    source: Annotated[ViewsSource, tyro.conf.arg(name="views")] = ViewsConfig.source
    generators: Annotated[GeneratorSettings, tyro.conf.arg(name="")] = field(default_factory=GeneratorSettings)

    @staticmethod
    def of(config: ViewsConfig) -> "ViewsOptions":
        """Settings as options."""
        return ViewsOptions(**{field.name: getattr(config, field.name) for field in fields(ViewsConfig)})

    def settings(self) -> ViewsConfig:
        """Options as settings."""
        return ViewsConfig(**{field.name: getattr(self, field.name) for field in fields(ViewsConfig)})
