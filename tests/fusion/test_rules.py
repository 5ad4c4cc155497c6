"""Known values of each fusion rule."""

import pytest
import torch

from ds4d.fusion import PointSamples
from ds4d.fusion.rules import Average, DistanceAwareness, GlobalAwareness, InputView, Visible

# One point, three views, two channels.
VALUES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])[:, None]
POSITIONS = torch.zeros(3, 1, 2)
SAMPLES = PointSamples(VALUES.mT.unsqueeze(-2), POSITIONS)
VISIBLE = torch.tensor([1.0, 1.0, 0.0])[:, None]


def test_input_view() -> None:
    assert InputView(2)(SAMPLES, VISIBLE).tolist() == [[1.0, 0.0]]
    assert InputView(2)(SAMPLES, torch.zeros(3, 1)).tolist() == [[0.0, 0.0]]


def test_average_of_views_that_see_the_point() -> None:
    assert Average(2)(SAMPLES, VISIBLE).tolist() == [[0.5, 1.0]]


def test_global_awareness_is_a_softmax_of_scores() -> None:
    rule = GlobalAwareness(2)
    with torch.no_grad():
        rule.score.weight.copy_(torch.tensor([[1.0, 0.5]]))
    weights = torch.softmax(torch.tensor([1.0, 1.0, 6.0]), 0)
    torch.testing.assert_close(rule(SAMPLES, torch.ones(3, 1))[0], weights @ VALUES[:, 0])


def test_distance_awareness_prefers_views_similar_to_the_input_view() -> None:
    rule = DistanceAwareness(2)
    with torch.no_grad():
        rule.combine.weight.copy_(torch.cat((torch.zeros(2, 2), torch.eye(2)), dim=1))  # the generated views only
    # The distances 3 and 7 are one standard deviation below and above their mean.
    weights = torch.softmax(torch.tensor([1.0, -1.0]), 0)
    torch.testing.assert_close(rule(SAMPLES, torch.ones(3, 1), SAMPLES)[0], weights @ VALUES[1:, 0])
    with torch.no_grad():
        rule.log_tau.fill_(torch.tensor(0.5).log())
    sharper = torch.softmax(torch.tensor([2.0, -2.0]), 0)
    torch.testing.assert_close(rule(SAMPLES, torch.ones(3, 1), SAMPLES)[0], sharper @ VALUES[1:, 0])


def test_distance_awareness_compares_other_samples() -> None:
    rule = DistanceAwareness(2)
    compared = torch.tensor([[0.0], [5.0], [1.0]])[:, None]
    with torch.no_grad():
        rule.combine.weight.copy_(torch.cat((torch.zeros(2, 2), torch.eye(2)), dim=1))
    weights = torch.softmax(torch.tensor([-1.0, 1.0]), 0)
    fused = rule(SAMPLES, torch.ones(3, 1), PointSamples(compared.mT.unsqueeze(-2), POSITIONS))
    torch.testing.assert_close(fused[0], weights @ VALUES[1:, 0])


def test_distance_awareness_needs_samples_to_compare() -> None:
    with pytest.raises(ValueError, match="compared"):
        DistanceAwareness(2)(SAMPLES, VISIBLE)


def test_visible_ignores_a_hidden_input_view() -> None:
    rule = Visible(2)
    with torch.no_grad():
        rule.input_bonus.fill_(50.0)
    torch.testing.assert_close(rule(SAMPLES, torch.ones(3, 1))[0], VALUES[0, 0])
    hidden = torch.tensor([0.0, 1.0, 0.0])[:, None]
    torch.testing.assert_close(rule(SAMPLES, hidden)[0], VALUES[1, 0])


def test_visible_weights_by_visibility() -> None:
    rule = Visible(2)
    with torch.no_grad():
        rule.score.weight.zero_()
    visible = torch.tensor([0.25, 0.75, 0.0])[:, None]
    torch.testing.assert_close(rule(SAMPLES, visible)[0], torch.tensor([0.25, 1.5]))
