"""Weighted reads by the compiled kernel are those of tensors."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ds4d.fusion import PointReads
from ds4d.fusion.reads_cpu import can_weigh, weighted_reads

Inputs = tuple[Tensor, Tensor, Tensor]

H, W, C = 5, 7, 3


@pytest.fixture
def make(generator: torch.Generator) -> Callable[..., Inputs]:
    """Maps, places and weights with some leading axes, the views' last."""

    def inputs(*lead: int, count: int = 40) -> Inputs:
        maps = torch.randn(*lead, C, H, W, generator=generator)
        places = 4 * torch.rand(*lead, count, 2, generator=generator) - 2
        return maps.requires_grad_(), places, torch.randn(*lead, count, generator=generator).requires_grad_()

    return inputs


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def outcome(total: Tensor, maps: Tensor, weights: Tensor) -> Inputs:
    """The sum and its gradients, as if it were pulled by its own sine."""
    return (total.detach(), *torch.autograd.grad(total, (maps, weights), total.detach().sin()))


def expected(maps: Tensor, places: Tensor, weights: Tensor) -> Inputs:
    """By tensors in double precision."""
    maps, weights = maps.detach().double().requires_grad_(), weights.detach().double().requires_grad_()
    total = PointReads(maps, places.double()).weighted_sum(weights)
    sums, *gradients = outcome(total, maps, weights)
    return sums.float(), gradients[0].float(), gradients[1].float()


def check(maps: Tensor, places: Tensor, weights: Tensor) -> None:
    assert can_weigh(maps, places, weights)
    found = outcome(weighted_reads(maps, places, weights), maps, weights)
    torch.testing.assert_close(found, expected(maps, places, weights), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lead", [(1,), (4,), (2, 3), (2, 1), (2, 2, 3)])
def test_sums_and_gradients_are_those_of_tensors(make: Callable[..., Inputs], lead: tuple[int, ...]) -> None:
    check(*make(*lead))


def test_centers_of_cells_borders_and_far_places(make: Callable[..., Inputs]) -> None:
    xs = (2 * torch.arange(W) + 1) / W - 1
    ys = (2 * torch.arange(H) + 1) / H - 1
    edge = torch.tensor([-torch.inf, -1e30, -9.0, -1.0, 1.0, 9.0, 1e30, torch.inf])
    places = torch.cartesian_prod(torch.cat((xs, edge)), torch.cat((ys, edge)))
    maps, _, weights = make(2, count=len(places))
    check(maps, places.expand(2, -1, -1), weights)


def test_centers_of_cells_read_the_cells(make: Callable[..., Inputs]) -> None:
    maps, _, _ = make(1)
    ys, xs = torch.meshgrid((2 * torch.arange(H) + 1) / H - 1, (2 * torch.arange(W) + 1) / W - 1, indexing="ij")
    places = torch.stack((xs, ys), dim=-1).reshape(1, -1, 2)
    read = weighted_reads(maps, places, torch.ones(1, H * W))
    torch.testing.assert_close(read.mT.reshape(C, H, W), maps[0])


def test_nan_reads_the_first_row_or_column(make: Callable[..., Inputs]) -> None:
    """Known values: torch's own gradient of such a read leaves its memory."""
    maps, _, weights = make(2, count=4)
    places = torch.tensor([[torch.nan, 0.3], [0.3, torch.nan], [torch.nan, torch.nan], [torch.nan, torch.inf]])
    found = outcome(weighted_reads(maps, places.expand(2, -1, -1), weights), maps, weights)
    first = places.nan_to_num(nan=-1.0, posinf=1.0).expand(2, -1, -1)
    torch.testing.assert_close(found, expected(maps, first, weights), atol=1e-5, rtol=1e-5)


def test_views_of_other_tensors(make: Callable[..., Inputs]) -> None:
    maps, places, weights = make(2, 3)
    last = maps.detach().movedim(-3, -1).contiguous().movedim(-1, -3).requires_grad_()  # channels side by side
    turned = weights.detach().mT.contiguous().mT.requires_grad_()
    check(last, places[:1].expand(2, -1, -1, -1), turned)
    check(maps.detach()[:, ::2].requires_grad_(), places[:, 1:], weights.detach()[:, :2].requires_grad_())


def test_no_places(make: Callable[..., Inputs]) -> None:
    maps, places, weights = make(2, 3, count=0)
    total, of_maps, of_weights = outcome(weighted_reads(maps, places, weights), maps, weights)
    assert total.shape == (2, 0, C) and of_weights.shape == (2, 3, 0)
    assert torch.equal(of_maps, torch.zeros_like(maps))


def test_only_gradients_that_are_asked_are_made(make: Callable[..., Inputs]) -> None:
    maps, places, weights = make(2, 3)
    _, of_maps, of_weights = expected(maps, places, weights)
    for asked, gradient in ((0, of_maps), (1, of_weights)):
        inputs = [maps.detach(), weights.detach()]
        inputs[asked].requires_grad_()
        total = weighted_reads(inputs[0], places, inputs[1])
        total.backward(total.detach().sin())
        torch.testing.assert_close(inputs[asked].grad, gradient, atol=1e-5, rtol=1e-5)
        assert inputs[1 - asked].grad is None
    assert not weighted_reads(maps.detach(), places, weights.detach()).requires_grad


def test_threads_change_no_bit(make: Callable[..., Inputs], three_threads: None) -> None:
    maps, places, weights = make(2, 3, count=4000)
    shared = outcome(weighted_reads(maps, places, weights), maps, weights)
    torch.set_num_threads(1)
    alone = outcome(weighted_reads(maps, places, weights), maps, weights)
    assert all(torch.equal(a, b) for a, b in zip(shared, alone, strict=True))


def test_tensors_serve_where_the_kernel_does_not(make: Callable[..., Inputs]) -> None:
    maps, places, weights = make(2, 3)
    assert not can_weigh(maps.double(), places, weights) and not can_weigh(maps, places, weights.half())
    assert not can_weigh(maps.to("meta"), places, weights)
    places.requires_grad_()
    assert not can_weigh(maps, places, weights)
    PointReads(maps, places).weighted_sum(weights).sum().backward()
    assert places.grad is not None and places.grad.abs().sum() > 0
