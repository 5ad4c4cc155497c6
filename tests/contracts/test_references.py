"""What every DSFD reference guarantees: an orthogonal split, whatever the length of the reference."""

import pytest
import torch
from torch import Tensor

from ds4d.decoupling import REFERENCES, decouple, dynamic_fraction, reference_basis
from ds4d.types import DecoupledFeatures

every_reference = pytest.mark.parametrize("name", REFERENCES)


@pytest.fixture
def maps(generator: torch.Generator) -> Tensor:
    return torch.randn(5, 2, 6, 3, 4, generator=generator, dtype=torch.float64)


def _split(maps: Tensor, name: str) -> DecoupledFeatures:
    return decouple(maps, reference_basis(maps, name))


@every_reference
def test_basis_is_orthonormal(maps: Tensor, name: str) -> None:
    basis = reference_basis(maps, name)
    products = torch.einsum("avchw,bvchw->vhwab", basis, basis)
    torch.testing.assert_close(products, torch.eye(len(basis)).double().expand_as(products))


@every_reference
def test_static_and_dynamic_sum_to_the_frame_feature(maps: Tensor, name: str) -> None:
    parts = _split(maps, name)
    torch.testing.assert_close(parts.static + parts.dynamic, maps)
    torch.testing.assert_close(parts.decoupled, torch.cat((maps, parts.dynamic), dim=2))


@every_reference
def test_dynamic_is_orthogonal_to_the_reference_and_to_static(maps: Tensor, name: str) -> None:
    parts, basis = _split(maps, name), reference_basis(maps, name)
    assert torch.einsum("tvchw,rvchw->tvrhw", parts.dynamic, basis).abs().max() < 1e-12
    assert (parts.dynamic * parts.static).sum(2).abs().max() < 1e-12
    assert parts.dynamic.abs().max() > 0.1


@every_reference
def test_static_video_has_no_dynamic_part(maps: Tensor, name: str) -> None:
    static = maps[:1].expand(5, -1, -1, -1, -1)
    assert _split(static, name).dynamic.abs().max() < 1e-6
    assert dynamic_fraction(_split(static, name)).max() < 1e-6


@every_reference
def test_length_of_the_reference_is_irrelevant(maps: Tensor, name: str) -> None:
    torch.testing.assert_close(reference_basis(1000 * maps, name), reference_basis(maps, name))


@every_reference
def test_zero_tokens_have_finite_values_and_gradients(name: str) -> None:
    maps = torch.zeros(3, 1, 4, 2, 2, requires_grad=True)
    parts = _split(maps, name)
    (parts.decoupled.sum() + parts.static.sum()).backward()
    assert maps.grad is not None and maps.grad.isfinite().all()
    assert dynamic_fraction(parts).max() == 0


@every_reference
def test_gradients_match_finite_differences(name: str, generator: torch.Generator) -> None:
    maps = torch.randn(3, 1, 3, 1, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _split(x, name).decoupled, (maps,))


@every_reference
def test_views_are_independent(maps: Tensor, name: str) -> None:
    torch.testing.assert_close(_split(maps, name).dynamic[:, 1:], _split(maps[:, 1:], name).dynamic)
