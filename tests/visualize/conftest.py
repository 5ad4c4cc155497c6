"""The scene of a finished run and its training views, shared by the tests of this folder."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds4d.data import load_views
from ds4d.geometry import transform_cameras
from ds4d.scene import DynamicGaussians
from ds4d.types import MultiViewVideo

if TYPE_CHECKING:
    from ds4d.config import GenerateConfig


@pytest.fixture(scope="session")
def fitted_scene(finished_run: Path) -> DynamicGaussians:
    return DynamicGaussians.load(finished_run)


@pytest.fixture(scope="session")
def training_views(
    fitted_scene: DynamicGaussians, sample_folder: Path, quick_config: "GenerateConfig"
) -> MultiViewVideo:
    """With cameras in normalized space."""
    video = load_views(sample_folder, quick_config.views)
    return replace(video, cameras=transform_cameras(fitted_scene.world, video.cameras))
