"""Each rule by itself: known values."""

import pytest
import torch

from ds4d.fusion import PointReads
from ds4d.fusion.rules import Average, DistanceAwareness, Front, GlobalAwareness, Visible

# One point, three views, two channels.
SAMPLES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])[:, None]
PLACE = torch.zeros(3, 1, 2)
READS = PointReads(SAMPLES.mT.unsqueeze(-2), PLACE)
SEEN = torch.tensor([1.0, 1.0, 0.0])[:, None]


def test_front_is_the_real_view() -> None:
    assert Front(2)(READS, SEEN).tolist() == [[1.0, 0.0]]
    assert Front(2)(READS, torch.zeros(3, 1)).tolist() == [[0.0, 0.0]]


def test_average_is_over_the_views_that_see_the_point() -> None:
    assert Average(2)(READS, SEEN).tolist() == [[0.5, 1.0]]


def test_global_awareness_is_a_softmax_of_one_layer() -> None:
    rule = GlobalAwareness(2)
    with torch.no_grad():
        rule.score.weight.copy_(torch.tensor([[1.0, 0.5]]))
    weights = torch.softmax(torch.tensor([1.0, 1.0, 6.0]), 0)  # the bias falls out
    torch.testing.assert_close(rule(READS, torch.ones(3, 1))[0], weights @ SAMPLES[:, 0])


def test_distance_awareness_prefers_what_looks_like_the_real_view() -> None:
    rule = DistanceAwareness(2)
    with torch.no_grad():
        rule.combine.weight.copy_(torch.cat((torch.zeros(2, 2), torch.eye(2)), dim=1))  # only the others
    # Distances to the real view 3 and 7 stand one deviation to both sides of their mean.
    weights = torch.softmax(torch.tensor([1.0, -1.0]), 0)
    torch.testing.assert_close(rule(READS, torch.ones(3, 1), READS)[0], weights @ SAMPLES[1:, 0])
    with torch.no_grad():
        rule.log_tau.fill_(torch.tensor(0.5).log())
    sharper = torch.softmax(torch.tensor([2.0, -2.0]), 0)
    torch.testing.assert_close(rule(READS, torch.ones(3, 1), READS)[0], sharper @ SAMPLES[1:, 0])


def test_distance_awareness_compares_by_vectors_of_their_own() -> None:
    rule = DistanceAwareness(2)
    compared = torch.tensor([[0.0], [5.0], [1.0]])[:, None]
    with torch.no_grad():
        rule.combine.weight.copy_(torch.cat((torch.zeros(2, 2), torch.eye(2)), dim=1))
    weights = torch.softmax(torch.tensor([-1.0, 1.0]), 0)
    torch.testing.assert_close(
        rule(READS, torch.ones(3, 1), PointReads(compared.mT.unsqueeze(-2), PLACE))[0], weights @ SAMPLES[1:, 0]
    )


def test_distance_awareness_needs_something_to_compare() -> None:
    with pytest.raises(ValueError, match="compared must hold the vectors to compare views by"):
        DistanceAwareness(2)(READS, SEEN)


def test_visible_leaves_out_a_real_view_that_is_hidden() -> None:
    rule = Visible(2)
    with torch.no_grad():
        rule.real_bonus.fill_(50.0)
    torch.testing.assert_close(rule(READS, torch.ones(3, 1))[0], SAMPLES[0, 0])
    hidden = torch.tensor([0.0, 1.0, 0.0])[:, None]
    torch.testing.assert_close(rule(READS, hidden)[0], SAMPLES[1, 0])


def test_visible_weighs_by_how_surely_a_view_sees_the_point() -> None:
    rule = Visible(2)
    with torch.no_grad():
        rule.score.weight.zero_()
    seen = torch.tensor([0.25, 0.75, 0.0])[:, None]
    torch.testing.assert_close(rule(READS, seen)[0], torch.tensor([0.25, 1.5]))
