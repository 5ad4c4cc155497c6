"""What every fusion rule guarantees."""

import pytest
import torch
from torch import Tensor

from ds4d.fusion import RULES, FusionRule, PointSamples

VIEWS, POINTS, CHANNELS = 5, 9, 4

every_rule = pytest.mark.parametrize("name", RULES)
fusing = pytest.mark.parametrize("name", [name for name, rule in RULES.items() if not rule.input_view_only])


def make(name: str) -> FusionRule:
    """The rule with random weights."""
    torch.manual_seed(3)
    rule = RULES[name](CHANNELS)
    for parameter in rule.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return rule


def fuse(rule: FusionRule, samples: Tensor, visible: Tensor, compared: Tensor) -> Tensor:
    return rule(point_samples(samples), visible, point_samples(compared))


def point_samples(samples: Tensor) -> PointSamples:
    """Maps of one row, sampled at the centers of their cells: each view shows `samples` [*T, V, N, C]."""
    count = samples.shape[-2]
    x = (2 * torch.arange(count) + 1) / count - 1
    positions = torch.stack((x, torch.zeros(count)), dim=-1)
    return PointSamples(samples.mT.unsqueeze(-2), positions.expand(*samples.shape[:-2], count, 2))


@pytest.fixture
def samples(generator: torch.Generator) -> Tensor:
    return torch.randn(2, VIEWS, POINTS, CHANNELS, generator=generator)


@pytest.fixture
def visible(generator: torch.Generator) -> Tensor:
    """Soft visibility; every point is visible in views 0 to 2 at least, none in view 3."""
    visible = torch.rand(2, VIEWS, POINTS, generator=generator)
    visible[:, :3] = visible[:, :3].clamp_min(0.2)
    visible[:, 3] = 0
    return visible


@every_rule
def test_gives_one_vector_per_point(name: str, samples: Tensor, visible: Tensor) -> None:
    rule = make(name)
    assert isinstance(rule, FusionRule)
    fused = fuse(rule, samples, visible, samples)
    assert fused.shape == (2, POINTS, CHANNELS) and fused.isfinite().all()
    torch.testing.assert_close(fuse(rule, samples[0], visible[0], samples[0]), fused[0])


@every_rule
def test_order_of_generated_views_is_irrelevant(name: str, samples: Tensor, visible: Tensor) -> None:
    rule, order = make(name), torch.tensor([0, 3, 1, 4, 2])
    shuffled = fuse(rule, samples[:, order], visible[:, order], samples[:, order])
    torch.testing.assert_close(shuffled, fuse(rule, samples, visible, samples))


@every_rule
def test_views_that_do_not_see_a_point_are_ignored(name: str, samples: Tensor, visible: Tensor) -> None:
    rule, other = make(name), samples.clone()
    other[:, 3] = 1e3
    torch.testing.assert_close(fuse(rule, other, visible, other), fuse(rule, samples, visible, samples))


@fusing
def test_generated_views_that_see_a_point_count(name: str, samples: Tensor, visible: Tensor) -> None:
    rule, other = make(name), samples.clone()
    other[:, 1] += 1
    change = fuse(rule, other, visible, other) - fuse(rule, samples, visible, samples)
    assert (change.abs().amax(-1) > 1e-4).all()


@every_rule
def test_single_view_is_unchanged(name: str, samples: Tensor) -> None:
    alone = samples[:, :1]
    torch.testing.assert_close(fuse(make(name), alone, torch.ones(2, 1, POINTS), alone), alone[:, 0])


@every_rule
def test_points_that_no_view_sees_are_zero_with_finite_gradients(name: str, samples: Tensor) -> None:
    rule = make(name)
    samples.requires_grad_()
    fused = fuse(rule, samples, torch.zeros(2, VIEWS, POINTS), samples.detach())
    fused.sum().backward()
    assert not fused.any() and samples.grad is not None and samples.grad.isfinite().all()
    gradients = [parameter.grad for parameter in rule.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


@every_rule
def test_every_parameter_gets_a_gradient(name: str, samples: Tensor, visible: Tensor) -> None:
    rule = make(name)
    fuse(rule, samples.requires_grad_(), visible, samples.detach()).square().sum().backward()
    for parameter in rule.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
