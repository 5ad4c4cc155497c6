"""Scenes that repeat without a jump."""

import pytest
import torch

from ds4d.scene import BLEND_FRACTION, BakedGaussians, LoopedScene, Scene, Timeline, measure_jump
from ds4d.types import RawGaussians, Similarity


@pytest.fixture
def drifting(tiny_gaussians: RawGaussians) -> BakedGaussians:
    """A scene of three frames that moves by 0.2 along x, grows, and changes its color."""
    times = torch.tensor([0.0, 0.5, 1.0])
    frames = tiny_gaussians.expand_times(3)
    raw = RawGaussians(
        means=frames.means + 0.2 * times[:, None, None] * torch.tensor([1.0, 0, 0]),
        quats=frames.quats,
        log_scales=frames.log_scales + times[:, None, None],
        opacity_logits=frames.opacity_logits.clone(),
        sh=tiny_gaussians.sh + times[:, None, None, None],
    )
    return BakedGaussians(raw, Timeline(tuple(times.tolist()), 1.0, False), Similarity.identity())


def test_end_equals_start_and_early_times_are_unchanged(drifting: BakedGaussians) -> None:
    looped = LoopedScene(drifting)
    assert isinstance(looped, Scene) and looped.timeline.loops
    start, end = (looped.raw_at(torch.tensor([time])) for time in (0.0, 1.0))
    early = torch.tensor([0.0, 0.3, 1 - BLEND_FRACTION])
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        torch.testing.assert_close(getattr(end, name), getattr(start, name), msg=name)
        assert torch.equal(getattr(looped.raw_at(early), name), getattr(drifting.raw_at(early), name))


def test_blend_is_smooth(drifting: BakedGaussians) -> None:
    positions = LoopedScene(drifting).raw_at(torch.linspace(0, 1, 201)).means[:, 0, 0]
    steps = positions.diff()
    assert steps.abs().max() < 2 * 0.2 / (BLEND_FRACTION * 200)  # at most twice the steps of a linear blend
    assert steps.diff().abs().max() < 0.2 * steps.abs().max()
    assert (steps[:149] > 0).all() and steps[170] < 0


def test_jump_is_measured(drifting: BakedGaussians) -> None:
    jump = measure_jump(drifting)
    assert jump.mean == pytest.approx(0.2, rel=1e-5) and jump.percentile_99 == pytest.approx(0.2, rel=1e-5)
    assert measure_jump(LoopedScene(drifting)).mean == pytest.approx(0, abs=1e-6)


def test_mean_jump_is_weighted_by_opacity(drifting: BakedGaussians) -> None:
    drifting.frames.means[2, 0] += 10
    drifting.frames.opacity_logits[:, 0] = -20
    assert measure_jump(drifting).mean == pytest.approx(0.2, rel=1e-3)


def test_constant_color_is_kept(tiny_gaussians: RawGaussians) -> None:
    frames = tiny_gaussians.expand_times(2)
    still = BakedGaussians(frames, Timeline((0.0, 1.0), 1.0, False), Similarity.identity())
    torch.testing.assert_close(LoopedScene(still).raw_at(torch.tensor([0.9])).means[0], tiny_gaussians.means)
