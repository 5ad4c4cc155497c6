"""The schedule: what each step trains on."""

from dataclasses import replace

import pytest
import torch

from ds4d.training.sampling import Sampler
from ds4d.training.schedule import Schedule, TrainingConfig
from ds4d.types import MultiViewVideo

CONFIG = TrainingConfig(
    static_steps=2,
    dynamic_steps=10,
    times_per_step=2,
    views_per_time=4,
    views_at_full_size=2,
    low_resolution_fraction=0.5,
)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_at_full_size_the_input_view_comes_with_few_generated_ones(quick_video: MultiViewVideo, weight: float) -> None:
    """Views that are as good as the input view, as those of a rig of cameras, take turns with it."""
    weights = torch.full((quick_video.num_views,), weight)
    weights[1] = 1.0
    video = replace(quick_video, view_weights=weights)
    schedule = Schedule(CONFIG, video, is_dynamic=True)
    sampler = Sampler(video.valid, torch.Generator().manual_seed(0))
    half, full = schedule.sample(6, sampler), schedule.sample(7, sampler)
    assert schedule.image_size(6)[0] == schedule.image_size(7)[0] // 2
    assert half.views.shape == (2, 4)
    if weight < 1:
        assert full.views.shape == (2, 2) and (full.views[:, 0] == 1).all() and (full.views[:, 1] != 1).all()
    else:
        assert full.views.shape == (2, 4)
