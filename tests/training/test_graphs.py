"""Replayed steps compute what eager ones do."""

import pytest
import torch

from ds4d.deformation import DeformationField, FieldConfig, HexPlaneConfig
from ds4d.training.graphs import FieldChanges, Readback, Replayed

AABB = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])


def field(device: str) -> DeformationField:
    torch.manual_seed(0)
    made = DeformationField(
        FieldConfig(HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2)), width=16, deform_color=True), AABB, 5
    )
    with torch.no_grad():  # heads of zeros would let no gradient through
        for parameter in made.heads.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.to(device)


def outputs_and_gradients(run, owner: DeformationField, count: int, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    means = (torch.rand(count, 3, generator=generator) - 0.5).to(device).requires_grad_()
    changes = run(means, torch.tensor([0.0, 0.3, 1.0], device=device))
    owner.zero_grad(set_to_none=True)
    sum(change.square().sum() for change in changes).backward()
    return [
        *(change.detach() for change in changes),
        means.grad,
        *(parameter.grad.clone() for parameter in owner.parameters()),
    ]


def test_on_the_cpu_a_replayed_module_is_the_module() -> None:
    owner = field("cpu")
    eager = outputs_and_gradients(FieldChanges(owner), owner, 7, "cpu")
    replayed = outputs_and_gradients(Replayed(FieldChanges(owner)), owner, 7, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(eager, replayed, strict=True))


@pytest.mark.gpu
def test_on_a_gpu_graphs_equal_eager_steps_also_after_the_number_of_gaussians_changes() -> None:
    owner = field("cuda")
    replayed = Replayed(FieldChanges(owner))
    for count in (50, 50, 64):  # recorded, replayed, recorded anew
        eager = outputs_and_gradients(FieldChanges(owner), owner, count, "cuda")
        again = outputs_and_gradients(replayed, owner, count, "cuda")
        for a, b in zip(eager, again, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_numbers_read_late_are_those_of_the_time_they_were_asked_for() -> None:
    values = torch.tensor([1.0, 2.0], device="cuda")
    readback = Readback(values)
    values.add_(5)
    assert readback.wait() == [1.0, 2.0]


def test_readback_on_the_cpu() -> None:
    assert Readback(torch.tensor([1.5, -2.0])).wait() == [1.5, -2.0]
