"""Which picture Zero123 starts from, and that it is looked at as it should be."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.guidance import ClipConditions, Zero123
from ds4d.guidance.poses import angles_deg, directions_of
from ds4d.types import MultiViewVideo
from ds4d.views.sample.dataset import SPLITS


@pytest.fixture
def conditions(quick_video: MultiViewVideo, zero123: Zero123) -> ClipConditions:
    return ClipConditions(quick_video, zero123)


def towards(azimuths: list[float], elevations: list[float]) -> Tensor:
    return directions_of(torch.tensor(azimuths), torch.tensor(elevations))


def test_directions_are_those_of_the_rig(conditions: ClipConditions) -> None:
    azimuths, elevations = angles_deg(conditions.directions[0])
    rig = (*SPLITS["front"], *SPLITS["mv"])
    expected = torch.tensor([[view.azimuth, view.elevation] for view in rig])
    torch.testing.assert_close(azimuths % 360, expected[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(elevations, expected[:, 1], atol=1e-3, rtol=0)


def test_the_real_view_where_it_is_preferred_else_the_nearest_generated_one(conditions: ClipConditions) -> None:
    """Generated views stand at azimuths 30 (above), 90 (below), 150, 210, 270 and 330."""
    drawn_from = towards([5.0, 5.0, 80.0, 80.0, -100.0, 200.0], [0.0, 20.0, 0.0, 0.0, 10.0, -20.0])
    prefers_front = torch.tensor([True, False, True, False, False, False])
    views = conditions.choose(torch.zeros(6, dtype=torch.long), drawn_from, prefers_front)
    assert views.tolist() == [0, 1, 0, 2, 5, 4]


def test_pictures_that_do_not_exist_are_never_chosen(quick_video: MultiViewVideo, zero123: Zero123) -> None:
    valid = quick_video.valid.clone()
    valid[1, 0] = False  # no real picture at frame 1
    valid[2, 1:] = False  # nothing but the real one at frame 2
    conditions = ClipConditions(replace(quick_video, valid=valid), zero123)
    times = torch.tensor([1, 2, 0])
    views = conditions.choose(times, towards([10.0] * 3, [10.0] * 3), torch.tensor([True, False, False]))
    assert views.tolist() == [1, 0, 1]


def test_a_picture_is_looked_at_on_white_and_once(
    conditions: ClipConditions, quick_video: MultiViewVideo, zero123: Zero123, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample's pictures are square already and look at the middle: nothing is to be cut."""
    seen = []
    real = zero123.look_at
    monkeypatch.setattr(zero123, "look_at", lambda pictures: (seen.append(pictures), real(pictures))[1])
    times, views = torch.tensor([3, 3, 4]), torch.tensor([0, 0, 2])
    first = conditions.at(times, views)
    again = conditions.at(times.flip(0), views.flip(0))
    assert len(seen) == 2
    assert torch.equal(again.latents, first.latents.flip(0)) and torch.equal(again.embeddings, first.embeddings.flip(0))
    truth = quick_video.gather(times[:1], views[:1]).composite(torch.ones(1, 3))
    small = torch.nn.functional.interpolate(truth, (32, 32), mode="bilinear", antialias=True)
    assert (seen[0] - small).abs().max() < 0.05
    torch.testing.assert_close(first.latents[:1], real(seen[0]).latents)
