"""The sample as a normalized scene, and parts of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from ds4d.geometry import HullConfig
from ds4d.init import SceneNormalization, normalize_scene
from ds4d.types import MultiViewVideo

HULL = HullConfig(resolution=48)


@pytest.fixture(scope="session")
def normalization(quick_video: MultiViewVideo) -> SceneNormalization:
    return normalize_scene(quick_video, HULL)


@pytest.fixture(scope="session")
def one_frame() -> Callable[..., MultiViewVideo]:
    """One frame of a video, with all of its views or some, as a video."""

    def extract(video: MultiViewVideo, time: int, views: slice = slice(None)) -> MultiViewVideo:
        class OneFrame:
            num_times, width, height = 1, video.frames.width, video.frames.height
            num_views = len(range(video.num_views)[views])

            def read(self, _: int, view: int):
                return video.frames.read(time, range(video.num_views)[views][view])

        return replace(
            video,
            frames=OneFrame(),
            cameras=video.cameras[time : time + 1, views],
            valid=video.valid[time : time + 1, views],
            times=torch.zeros(1),
            view_names=video.view_names[views],
            view_weights=video.view_weights[views],
        )

    return extract
