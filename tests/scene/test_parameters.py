"""The canonical set as parameters: what goes in comes out, and rows move together."""

from dataclasses import replace

import pytest
import torch

from ds4d.scene import GaussianParameters, Resampling, endless_lifetimes
from ds4d.scene.lifetimes import FOREVER
from ds4d.types import RawGaussians

FIELDS = ("means", "quats", "log_scales", "opacity_logits", "sh")


@pytest.mark.parametrize("bases", [1, 4])
def test_raw_hands_out_what_came_in(tiny_gaussians: RawGaussians, bases: int) -> None:
    initial = replace(tiny_gaussians, sh=tiny_gaussians.sh[:, :bases])
    parameters = GaussianParameters(initial)
    for field in FIELDS:
        assert torch.equal(getattr(parameters.raw(), field), getattr(initial, field))
    assert parameters.num_gaussians == 12


def test_parameters_are_a_copy(tiny_gaussians: RawGaussians) -> None:
    before = tiny_gaussians.means.clone()
    parameters = GaussianParameters(tiny_gaussians)
    with torch.no_grad():
        parameters.means += 1
    assert torch.equal(tiny_gaussians.means, before)


def test_each_parameter_receives_gradient(tiny_gaussians: RawGaussians) -> None:
    parameters = GaussianParameters(tiny_gaussians)
    gaussians = parameters.raw().activate()
    # A plain sum of unit quaternions would do too; squares make every component count differently.
    sum(
        (getattr(gaussians, name) ** 2 * torch.rand_like(getattr(gaussians, name))).sum() for name in vars(gaussians)
    ).backward()
    for name, parameter in parameters.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_resample_takes_whole_rows_and_the_new_centers_and_sizes(tiny_gaussians: RawGaussians) -> None:
    parameters = GaussianParameters(tiny_gaussians)
    sources = torch.tensor([3, 0, 3])
    means, log_scales = torch.rand(3, 3), torch.rand(3, 3)
    parameters.resample(Resampling(sources, torch.tensor([False, False, True]), means, log_scales))
    after = parameters.raw()
    assert torch.equal(after.means, means) and torch.equal(after.log_scales, log_scales)
    for field in ("quats", "opacity_logits", "sh"):
        assert torch.equal(getattr(after, field), getattr(tiny_gaussians, field)[sources])
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in parameters.parameters())


def test_a_state_of_another_size_loads_after_resize(tiny_gaussians: RawGaussians) -> None:
    stored = GaussianParameters(tiny_gaussians)
    other = GaussianParameters(tiny_gaussians)
    other.resample(Resampling(torch.arange(5), torch.zeros(5) > 0, torch.zeros(5, 3), torch.zeros(5, 3)))
    other.resize(12)
    other.load_state_dict(stored.state_dict())
    assert torch.equal(other.raw().sh, tiny_gaussians.sh)


def test_the_last_are_replaced_and_have_lifetimes_of_their_own(tiny_gaussians: RawGaussians) -> None:
    parameters = GaussianParameters(tiny_gaussians)
    others = RawGaussians(**{field: getattr(tiny_gaussians, field)[:2] + 1 for field in FIELDS})
    parameters.replace_last(others, torch.tensor([[0.5, 2.0], [-torch.inf, 3.0]]))
    for field in FIELDS:
        values = getattr(parameters.raw(), field)
        assert torch.equal(values[:10], getattr(tiny_gaussians, field)[:10])
        assert torch.equal(values[10:], getattr(others, field))
    lifetimes = parameters.lifetimes
    assert lifetimes is not None and torch.equal(lifetimes[:10], endless_lifetimes(10))
    assert lifetimes[10:].flatten().tolist() == [0.5, 2.0, -FOREVER, 3.0]
