"""The kernel for weighted sums of samples against tensor operations."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ds4d.fusion import PointSamples
from ds4d.fusion.point_sampling import locate
from ds4d.fusion.rules import Visible
from ds4d.fusion.sampling_cpu import sum_of_samples, supports
from ds4d.geometry import orbit_cameras

Inputs = tuple[Tensor, Tensor, Tensor]

H, W, C = 5, 7, 3


@pytest.fixture
def make(generator: torch.Generator) -> Callable[..., Inputs]:
    """Maps, positions and weights with leading axes, the last of which is that of the views."""

    def inputs(*lead: int, count: int = 40) -> Inputs:
        maps = torch.randn(*lead, C, H, W, generator=generator)
        positions = 4 * torch.rand(*lead, count, 2, generator=generator) - 2
        return maps.requires_grad_(), positions, torch.randn(*lead, count, generator=generator).requires_grad_()

    return inputs


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def outcome(total: Tensor, maps: Tensor, weights: Tensor) -> Inputs:
    """The sum, and the gradients for its own sine as incoming gradient."""
    return (total.detach(), *torch.autograd.grad(total, (maps, weights), total.detach().sin()))


def expected(maps: Tensor, positions: Tensor, weights: Tensor) -> Inputs:
    """The same by tensor operations in double precision."""
    maps, weights = maps.detach().double().requires_grad_(), weights.detach().double().requires_grad_()
    total = PointSamples(maps, positions.double()).weighted_sum(weights)
    sums, *gradients = outcome(total, maps, weights)
    return sums.float(), gradients[0].float(), gradients[1].float()


def check(maps: Tensor, positions: Tensor, weights: Tensor) -> None:
    assert supports(maps, positions, weights)
    found = outcome(sum_of_samples(maps, positions, weights), maps, weights)
    torch.testing.assert_close(found, expected(maps, positions, weights), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lead", [(1,), (4,), (2, 3), (2, 1), (2, 2, 3)])
def test_sums_and_gradients(make: Callable[..., Inputs], lead: tuple[int, ...]) -> None:
    check(*make(*lead))


def test_centers_borders_and_far_positions(make: Callable[..., Inputs]) -> None:
    xs = (2 * torch.arange(W) + 1) / W - 1
    ys = (2 * torch.arange(H) + 1) / H - 1
    edge = torch.tensor([-torch.inf, -1e30, -9.0, -1.0, 1.0, 9.0, 1e30, torch.inf])
    positions = torch.cartesian_prod(torch.cat((xs, edge)), torch.cat((ys, edge)))
    maps, _, weights = make(2, count=len(positions))
    check(maps, positions.expand(2, -1, -1), weights)


def test_centers_of_cells_sample_the_cells(make: Callable[..., Inputs]) -> None:
    maps, _, _ = make(1)
    ys, xs = torch.meshgrid((2 * torch.arange(H) + 1) / H - 1, (2 * torch.arange(W) + 1) / W - 1, indexing="ij")
    positions = torch.stack((xs, ys), dim=-1).reshape(1, -1, 2)
    sampled = sum_of_samples(maps, positions, torch.ones(1, H * W))
    torch.testing.assert_close(sampled.mT.reshape(C, H, W), maps[0])


def test_nan_samples_the_first_row_or_column(make: Callable[..., Inputs]) -> None:
    """Known values: for these, torch's own gradient writes outside its memory."""
    maps, _, weights = make(2, count=4)
    positions = torch.tensor([[torch.nan, 0.3], [0.3, torch.nan], [torch.nan, torch.nan], [torch.nan, torch.inf]])
    found = outcome(sum_of_samples(maps, positions.expand(2, -1, -1), weights), maps, weights)
    first = positions.nan_to_num(nan=-1.0, posinf=1.0).expand(2, -1, -1)
    torch.testing.assert_close(found, expected(maps, first, weights), atol=1e-5, rtol=1e-5)


def test_views_of_other_tensors(make: Callable[..., Inputs]) -> None:
    maps, positions, weights = make(2, 3)
    last = maps.detach().movedim(-3, -1).contiguous().movedim(-1, -3).requires_grad_()  # channels adjacent in memory
    turned = weights.detach().mT.contiguous().mT.requires_grad_()
    check(last, positions[:1].expand(2, -1, -1, -1), turned)
    check(maps.detach()[:, ::2].requires_grad_(), positions[:, 1:], weights.detach()[:, :2].requires_grad_())


def test_no_points(make: Callable[..., Inputs]) -> None:
    maps, positions, weights = make(2, 3, count=0)
    total, of_maps, of_weights = outcome(sum_of_samples(maps, positions, weights), maps, weights)
    assert total.shape == (2, 0, C) and of_weights.shape == (2, 3, 0)
    assert torch.equal(of_maps, torch.zeros_like(maps))


def test_only_requested_gradients_are_computed(make: Callable[..., Inputs]) -> None:
    maps, positions, weights = make(2, 3)
    _, of_maps, of_weights = expected(maps, positions, weights)
    for asked, gradient in ((0, of_maps), (1, of_weights)):
        inputs = [maps.detach(), weights.detach()]
        inputs[asked].requires_grad_()
        total = sum_of_samples(inputs[0], positions, inputs[1])
        total.backward(total.detach().sin())
        torch.testing.assert_close(inputs[asked].grad, gradient, atol=1e-5, rtol=1e-5)
        assert inputs[1 - asked].grad is None
    assert not sum_of_samples(maps.detach(), positions, weights.detach()).requires_grad


def test_number_of_threads_changes_no_bit(make: Callable[..., Inputs], three_threads: None) -> None:
    maps, positions, weights = make(2, 3, count=4000)
    shared = outcome(sum_of_samples(maps, positions, weights), maps, weights)
    torch.set_num_threads(1)
    alone = outcome(sum_of_samples(maps, positions, weights), maps, weights)
    assert all(torch.equal(a, b) for a, b in zip(shared, alone, strict=True))


def test_unsupported_inputs_use_tensor_operations(make: Callable[..., Inputs]) -> None:
    maps, positions, weights = make(2, 3)
    assert not supports(maps.double(), positions, weights) and not supports(maps, positions, weights.half())
    assert not supports(maps.to("meta"), positions, weights)
    positions.requires_grad_()
    assert not supports(maps, positions, weights)
    PointSamples(maps, positions).weighted_sum(weights).sum().backward()
    assert positions.grad is not None and positions.grad.abs().sum() > 0


def fused(rule: Visible, maps: Tensor, positions: Tensor, visible: Tensor) -> list[Tensor]:
    """The rule's result, and the gradients of the maps and of its parameters."""
    leaf = maps.detach().requires_grad_()
    total = rule(PointSamples(leaf, positions), visible)
    gradients = torch.autograd.grad(total, (leaf, *rule.parameters()), total.detach().sin())
    return [x.detach().float() for x in (total, *gradients)]


@pytest.mark.parametrize("lead", [(4,), (2, 4)])
def test_the_rule_visible_agrees_with_tensor_operations(make: Callable[..., Inputs], lead: tuple[int, ...]) -> None:
    maps, positions, weights = make(*lead)
    visible = weights.detach().sigmoid()
    visible[..., :10] = 0.0  # seen by none
    visible[..., 1, 10:20] = 0.0  # hidden in one view
    visible[..., 20:25] *= 1e-7  # hardly seen by any
    torch.manual_seed(0)
    rule = Visible(C)
    torch.nn.init.normal_(rule.input_bonus)
    found = fused(rule, maps, positions, visible)
    expected = fused(rule.double(), maps.double(), positions.double(), visible.double())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not found[0][..., :10, :].any()


def test_the_rule_visible_gives_the_same_bits_on_more_threads(make: Callable[..., Inputs], three_threads: None) -> None:
    maps, positions, weights = make(2, 4, count=5000)
    rule, visible = Visible(C), weights.detach().sigmoid()
    found = fused(rule, maps, positions, visible)
    torch.set_num_threads(1)
    assert all(map(torch.equal, found, fused(rule, maps, positions, visible)))


@pytest.mark.parametrize("with_depths", [False, True])
@pytest.mark.parametrize("with_warps", [False, True])
def test_points_are_located_as_by_tensor_operations(
    generator: torch.Generator, with_depths: bool, with_warps: bool
) -> None:
    cameras = orbit_cameras([0.0, 80.0, 200.0], [5.0] * 3, fovy_deg=30.0, distance=2.0, width=40, height=32)
    points = torch.rand(2, 60, 3, generator=generator) * 1.6 - 0.8  # some are outside the images
    points[0, 0] = torch.tensor([0.0, 0.0, 5.0])  # behind the first camera
    depths = 1.5 + torch.rand(2, 3, 1, 12, 15, generator=generator)
    depths[..., :3, :] = 0.0  # where nothing is rendered
    warps = 0.1 * torch.randn(2, 3, 2, 4, 4, generator=generator)

    def located(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return locate(
            points.to(dtype),
            cameras.to(dtype),
            depths=depths.to(dtype) if with_depths else None,
            warps=warps.to(dtype) if with_warps else None,
            tolerance=0.05,
        )

    positions, visible = located(torch.float32)
    expected = located(torch.float64)
    torch.testing.assert_close(positions, expected[0].float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(visible, expected[1].float(), atol=1e-3, rtol=1e-3)
    assert 0 < float((visible > 0.5).float().mean()) < 1
