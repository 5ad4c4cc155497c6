"""The fused optimizer against torch's."""

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.training.adam_cuda import FusedAdam

SHAPES = [(3000,), (7, 3), (1,), (2, 5, 40, 11), (1024,)]
RATES = [1e-2, 1e-3, 0.0, 3e-2, 1e-2]
STEPS = 4


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_updates_are_those_of_torch(device: str, generator: torch.Generator) -> None:
    starts = [torch.randn(*shape, generator=generator).to(device) for shape in SHAPES]
    gradients = [[torch.randn(*s, generator=generator).to(device) * 10.0 ** (-i) for s in SHAPES] for i in range(STEPS)]
    wanted = [torch.nn.Parameter(start.clone()) for start in starts]
    groups = [{"params": [parameter], "lr": rate} for parameter, rate in zip(wanted, RATES, strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-15)
    found, means = [start.clone() for start in starts], [(torch.zeros_like(s), torch.zeros_like(s)) for s in starts]
    fused = FusedAdam(0.9, 0.999, 1e-15)
    for step in range(STEPS):
        taken = _present(step)
        for i, parameter in enumerate(wanted):
            parameter.grad = gradients[step][i].clone() if i in taken else None
        optimizer.step()
        if step == 2:  # as after a densification: all the same at other places
            found, means = [value.clone() for value in found], [(a.clone(), b.clone()) for a, b in means]
        fused.update(
            [found[i] for i in taken],
            [gradients[step][i] for i in taken],
            [means[i] for i in taken],
            [RATES[i] for i in taken],
            [sum(i in _present(before) for before in range(step + 1)) for i in taken],
        )
    for value, parameter in zip(found, wanted, strict=True):
        torch.testing.assert_close(value, parameter.detach(), rtol=1e-5, atol=1e-6)
    for (mean, square), parameter in zip(means, wanted, strict=True):
        state = optimizer.state[parameter]
        torch.testing.assert_close(mean, state["exp_avg"], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(square, state["exp_avg_sq"], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_gradients_in_another_order_in_memory_are_read_by_their_places(device: str) -> None:
    gradient: Tensor = torch.tensor([[1.0, -2.0, 0.5], [3.0, -4.0, 2.0]], device=device)
    found = []
    for given in (gradient, gradient.T.contiguous().T):
        parameter = torch.zeros_like(gradient)
        moments = (torch.zeros_like(gradient), torch.zeros_like(gradient))
        FusedAdam(0.9, 0.999, 1e-15).update([parameter], [given], [moments], [0.1], [1])
        found.append(moments[0])
    torch.testing.assert_close(found[1], found[0], rtol=0.0, atol=0.0)
    torch.testing.assert_close(found[0], 0.1 * gradient)


def _present(step: int) -> list[int]:
    """Which parameters have a gradient in a step."""
    return [0, 1, 2, 3, 4] if step != 1 else [0, 2, 3]
