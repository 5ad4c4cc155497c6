"""Adam for a few tensors is torch's."""

import torch

from ds4d.core import Adam


def test_it_is_torchs_class(generator: torch.Generator) -> None:
    start, target = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    optimizer, reference = Adam([ours], beta1=0.8, beta2=0.95), torch.optim.Adam([theirs], betas=(0.8, 0.95))
    for step in range(6):
        rate = 0.1 * 0.7**step
        (ours - target).square().sum().backward()
        optimizer.step(rate)
        assert ours.grad is None
        reference.zero_grad()
        (theirs - target).square().sum().backward()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        assert torch.equal(ours, theirs) and not torch.equal(ours, start)
