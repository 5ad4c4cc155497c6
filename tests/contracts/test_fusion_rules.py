"""What every fusion rule promises."""

import pytest
import torch
from torch import Tensor

from ds4d.fusion import RULES, FusionRule, PointReads

VIEWS, POINTS, CHANNELS = 5, 9, 4

every_rule = pytest.mark.parametrize("name", RULES)
fusing = pytest.mark.parametrize("name", sorted(set(RULES) - {"front"}))


def made(name: str) -> FusionRule:
    """The rule with weights that are not those of its start."""
    torch.manual_seed(3)
    rule = RULES[name](CHANNELS)
    for parameter in rule.parameters():  # ty: ignore[unresolved-attribute]
        torch.nn.init.normal_(parameter, std=0.5)
    return rule


def fused_by(rule: FusionRule, samples: Tensor, seen: Tensor, compared: Tensor) -> Tensor:
    return rule(reads_of(samples), seen, reads_of(compared))


def reads_of(samples: Tensor) -> PointReads:
    """Maps of one row, read at the centers of their cells: each view shows `samples` [*T, V, N, C]."""
    count = samples.shape[-2]
    x = (2 * torch.arange(count) + 1) / count - 1
    place = torch.stack((x, torch.zeros(count)), dim=-1)
    return PointReads(samples.mT.unsqueeze(-2), place.expand(*samples.shape[:-2], count, 2))


@pytest.fixture
def samples(generator: torch.Generator) -> Tensor:
    return torch.randn(2, VIEWS, POINTS, CHANNELS, generator=generator)


@pytest.fixture
def seen(generator: torch.Generator) -> Tensor:
    """Soft visibility; every point is seen by view 0 and by two more at least."""
    shown = torch.rand(2, VIEWS, POINTS, generator=generator)
    shown[:, :3] = shown[:, :3].clamp_min(0.2)
    shown[:, 3] = 0
    return shown


@every_rule
def test_it_fits_the_protocol_and_gives_one_vector_per_point(name: str, samples: Tensor, seen: Tensor) -> None:
    rule = made(name)
    assert isinstance(rule, FusionRule)
    fused = fused_by(rule, samples, seen, samples)
    assert fused.shape == (2, POINTS, CHANNELS) and fused.isfinite().all()
    torch.testing.assert_close(fused_by(rule, samples[0], seen[0], samples[0]), fused[0])


@every_rule
def test_the_order_of_the_generated_views_does_not_matter(name: str, samples: Tensor, seen: Tensor) -> None:
    rule, order = made(name), torch.tensor([0, 3, 1, 4, 2])
    shuffled = fused_by(rule, samples[:, order], seen[:, order], samples[:, order])
    torch.testing.assert_close(shuffled, fused_by(rule, samples, seen, samples))


@every_rule
def test_views_that_do_not_see_a_point_do_not_count(name: str, samples: Tensor, seen: Tensor) -> None:
    rule, other = made(name), samples.clone()
    other[:, 3] = 1e3
    torch.testing.assert_close(fused_by(rule, other, seen, other), fused_by(rule, samples, seen, samples))


@fusing
def test_a_generated_view_that_sees_a_point_counts(name: str, samples: Tensor, seen: Tensor) -> None:
    rule, other = made(name), samples.clone()
    other[:, 1] += 1
    assert ((fused_by(rule, other, seen, other) - fused_by(rule, samples, seen, samples)).abs().amax(-1) > 1e-4).all()


@every_rule
def test_one_view_is_its_own_fusion(name: str, samples: Tensor) -> None:
    alone = samples[:, :1]
    torch.testing.assert_close(fused_by(made(name), alone, torch.ones(2, 1, POINTS), alone), alone[:, 0])


@every_rule
def test_a_point_that_no_view_sees_gets_nothing_and_teaches_nothing_broken(name: str, samples: Tensor) -> None:
    rule = made(name)
    samples.requires_grad_()
    fused = fused_by(rule, samples, torch.zeros(2, VIEWS, POINTS), samples.detach())
    fused.sum().backward()
    assert not fused.any() and samples.grad is not None and samples.grad.isfinite().all()
    gradients = [parameter.grad for parameter in rule.parameters()]  # ty: ignore[unresolved-attribute]
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


@every_rule
def test_every_parameter_learns(name: str, samples: Tensor, seen: Tensor) -> None:
    rule = made(name)
    fused_by(rule, samples.requires_grad_(), seen, samples.detach()).square().sum().backward()
    for parameter in rule.parameters():  # ty: ignore[unresolved-attribute]
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
