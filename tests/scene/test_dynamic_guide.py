"""The dynamic share as a guide: what moves grows first, frames that move come more often, what is still is held."""

from dataclasses import replace

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.decoupling import DecouplingConfig
from ds4d.losses import LossConfig
from ds4d.presets import tiny
from ds4d.scene import DynamicGaussians, DynamicGuide, Timeline
from ds4d.types import FrameFeatures, MultiViewVideo, RawGaussians, Similarity

CPU = torch.device("cpu")
TIMES, VIEWS = 6, 7  # of the quick video


@pytest.fixture
def upper_moves(generator: torch.Generator) -> FrameFeatures:
    """Only the upper half of each image changes, and only in the last two frames."""
    maps = torch.randn(1, VIEWS, 5, 8, 8, generator=generator).repeat(TIMES, 1, 1, 1, 1)
    maps[-2:, :, :, :4] = torch.randn(2, VIEWS, 5, 4, 8, generator=generator)
    return FrameFeatures(maps.half(), torch.ones(TIMES, VIEWS, dtype=torch.bool))


def guide(features: FrameFeatures, video: MultiViewVideo, **config: float) -> DynamicGuide:
    return DynamicGuide(features, video, DecouplingConfig("middle", **config), CPU)


def test_frames_that_move_are_sampled_more_often(upper_moves: FrameFeatures, quick_video: MultiViewVideo) -> None:
    assert guide(upper_moves, quick_video).frame_weights is None
    weights = guide(upper_moves, quick_video, frame_weight=4.0).frame_weights
    assert weights is not None and weights[:4].tolist() == pytest.approx([1.0] * 4, abs=0.1)
    assert weights.max() == 5 and weights[-2:].min() > 4


def test_points_have_the_share_of_where_they_are_seen(upper_moves: FrameFeatures, quick_video: MultiViewVideo) -> None:
    found = guide(upper_moves, quick_video)
    points = torch.tensor([[0.0, 0.45, 0.0], [0.0, -0.45, 0.0], [0.0, 90.0, 0.0]]).expand(2, 3, 3)
    first, last = found.of_points(points, torch.tensor([0, TIMES - 1]))
    assert last[0] > 0.5 and max(first[0], first[1], last[1]) < 0.1
    assert first[2] == last[2] == 1  # seen by no view: nothing is known
    (still,) = found.stillness(points, torch.tensor([0, TIMES - 1]))
    torch.testing.assert_close(still, 1 - torch.stack((first, last)))


def test_what_moves_grows_first(
    upper_moves: FrameFeatures, quick_video: MultiViewVideo, tiny_gaussians: RawGaussians
) -> None:
    raw = replace(tiny_gaussians, means=torch.zeros_like(tiny_gaussians.means))
    raw.means[:, 1] = torch.linspace(-0.45, 0.45, len(raw.means))
    timeline = Timeline(tuple(quick_video.times.tolist()), 1.0, False)
    scene = DynamicGaussians(raw, None, timeline, Similarity(1.0, torch.eye(3), torch.zeros(3)))
    assert guide(upper_moves, quick_video).growth(scene) is None
    factors = guide(upper_moves, quick_video, growth_weight=4.0).growth(scene)
    assert factors is not None and factors[0] < 1.1 and factors[-1] > 1.5


@pytest.mark.parametrize("name", ["loss_weight", "growth_weight", "frame_weight"])
def test_a_guide_needs_features_of_all_views(name: str) -> None:
    without = replace(tiny(), fusion=None)
    assert not without.is_guided and not GenerateConfig().is_guided
    assert replace(without, decoupling=DecouplingConfig(**{name: 2.0})).is_guided
    held = replace(without.training, losses=LossConfig(stillness=0.1))
    assert replace(without, training=held).is_guided
    with pytest.raises(ValueError, match=name):
        DecouplingConfig(**{name: -1.0})
