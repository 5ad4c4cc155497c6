"""A clip whose end is led back to its start."""

import pytest
import torch

from ds4d.scene import BLENDED, BakedGaussians, Clip, LoopedScene, Scene, measure_jump
from ds4d.types import RawGaussians, Similarity


@pytest.fixture
def drifting(tiny_gaussians: RawGaussians) -> BakedGaussians:
    """A scene that walks 0.2 along x, grows, and turns red, in three frames."""
    times = torch.tensor([0.0, 0.5, 1.0])
    frames = tiny_gaussians.expand_times(3)
    raw = RawGaussians(
        means=frames.means + 0.2 * times[:, None, None] * torch.tensor([1.0, 0, 0]),
        quats=frames.quats,
        log_scales=frames.log_scales + times[:, None, None],
        opacity_logits=frames.opacity_logits.clone(),
        sh=tiny_gaussians.sh + times[:, None, None, None],
    )
    return BakedGaussians(raw, Clip(tuple(times.tolist()), 1.0, False), Similarity.identity())


def test_the_end_is_the_start_and_the_rest_is_as_it_was(drifting: BakedGaussians) -> None:
    looped = LoopedScene(drifting)
    assert isinstance(looped, Scene) and looped.clip.loops
    start, end = (looped.raw_at(torch.tensor([time])) for time in (0.0, 1.0))
    early = torch.tensor([0.0, 0.3, 1 - BLENDED])
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        torch.testing.assert_close(getattr(end, name), getattr(start, name), msg=name)
        assert torch.equal(getattr(looped.raw_at(early), name), getattr(drifting.raw_at(early), name))


def test_the_way_back_is_smooth(drifting: BakedGaussians) -> None:
    places = LoopedScene(drifting).raw_at(torch.linspace(0, 1, 201)).means[:, 0, 0]
    steps = places.diff()
    assert steps.abs().max() < 2 * 0.2 / (BLENDED * 200)  # no jump: at most twice an even way back
    assert steps.diff().abs().max() < 0.2 * steps.abs().max()
    assert (steps[:149] > 0).all() and steps[170] < 0


def test_the_jump_is_measured(drifting: BakedGaussians) -> None:
    jump = measure_jump(drifting)
    assert jump.mean == pytest.approx(0.2, rel=1e-5) and jump.most == pytest.approx(0.2, rel=1e-5)
    again = measure_jump(LoopedScene(drifting))
    assert again.mean == pytest.approx(0, abs=1e-6)


def test_opaque_gaussians_count_more(drifting: BakedGaussians) -> None:
    drifting.frames.means[2, 0] += 10  # one flies away
    drifting.frames.opacity_logits[:, 0] = -20  # but is not seen
    assert measure_jump(drifting).mean == pytest.approx(0.2, rel=1e-3)


def test_a_scene_without_color_over_time(tiny_gaussians: RawGaussians) -> None:
    frames = tiny_gaussians.expand_times(2)
    still = BakedGaussians(frames, Clip((0.0, 1.0), 1.0, False), Similarity.identity())
    torch.testing.assert_close(LoopedScene(still).raw_at(torch.tensor([0.9])).means[0], tiny_gaussians.means)
