"""The options of videos where size and rate are options of the views."""

from dataclasses import dataclass, fields
from typing import Annotated

import tyro

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
