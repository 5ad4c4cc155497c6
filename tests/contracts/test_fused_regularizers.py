"""The fused regularizers against the tensor form in double precision."""

from collections.abc import Callable

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.losses.regularizers import plane_smoothness, rigidity, time_l1, time_smoothness

SHAPES = [[(3, 4, 9, 9), (3, 4, 18, 18)], [(3, 1, 2, 5), (3, 1, 2, 40)], [(3, 2, 3, 2)]]


def outcome(function: Callable[..., Tensor], leaves: list[Tensor], call: Callable[..., Tensor]) -> list[Tensor]:
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    value = call(function, leaves)
    return [value.detach(), *torch.autograd.grad(3 * value, leaves, allow_unused=True, materialize_grads=True)]


def check(function: Callable[..., Tensor], leaves: list[Tensor], device: str, call: Callable[..., Tensor]) -> None:
    expected = outcome(function, [leaf.double() for leaf in leaves], call)
    with fused_parts("plane_losses", "rigidity"):
        found = outcome(function, [leaf.to(device) for leaf in leaves], call)
    for value, wide in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), wide.float(), rtol=1e-5, atol=1e-5 * wide.abs().max().item())


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("function", [plane_smoothness, time_smoothness, time_l1])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_planes(
    function: Callable[..., Tensor],
    shapes: list[tuple[int, ...]],
    layout: torch.memory_format,
    device: str,
    generator: torch.Generator,
) -> None:
    planes = [torch.randn(shape, generator=generator).contiguous(memory_format=layout) for shape in shapes]
    planes[0][0, 0, 0, 0] = 1.0  # where the absolute difference has no slope
    check(function, planes, device, lambda function, leaves: function(leaves))


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize(("count", "times", "k"), [(150, 3, 8), (5, 1, 3), (1, 2, 1)])
def test_rigidity(count: int, times: int, k: int, device: str, generator: torch.Generator) -> None:
    neighbors = torch.randint(count, (count, k), generator=generator)
    canonical, moved = torch.randn(count, 3, generator=generator), torch.randn(times, count, 3, generator=generator)
    canonical[:2] = canonical[0]  # neighbors in one place, where the distance has no slope

    def call(function: Callable[..., Tensor], leaves: list[Tensor]) -> Tensor:
        return function(leaves[0], leaves[1], neighbors.to(leaves[0].device))

    check(rigidity, [canonical, moved], device, call)


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_points_without_neighbors_pull_at_nothing(device: str) -> None:
    canonical = torch.rand(4, 3, device=device, requires_grad=True)
    with fused_parts("rigidity"):
        value = rigidity(
            canonical, torch.rand(2, 4, 3, device=device), torch.zeros(4, 0, dtype=torch.long, device=device)
        )
    value.backward()
    assert canonical.grad is not None and not canonical.grad.any() and value == 0
