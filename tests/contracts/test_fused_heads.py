"""The fused trunk and heads of the field against the tensor form in double precision."""

from copy import deepcopy

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.deformation import DeformationField, FieldConfig, HexPlaneConfig, heads_cuda

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
SHAPES = {  # channels, width, channels of the points, times, points, whether all properties change
    "as in a fit": (16, 64, 16, 2, 75, True),
    "narrow": (5, 12, 3, 1, 7, False),
    "planes alone": (8, 32, 0, 3, 70, True),
    "many features": (40, 64, 20, 1, 65, True),
}


def outcome(field: DeformationField, planes: Tensor, features: Tensor | None, shares: Tensor | None) -> list[Tensor]:
    """Changes, first shifts, and gradients of features and weights, each change pulled differently."""
    field.zero_grad()
    leaves = [x.clone().requires_grad_() for x in (planes, features) if x is not None]
    changes = field.changes_of(leaves[0], leaves[1] if features is not None else None, shares)
    generator = torch.Generator().manual_seed(7)
    grads = [torch.randn(change.shape, generator=generator).to(change) for change in changes.values()]
    torch.autograd.backward(list(changes.values()), grads)
    with torch.no_grad():
        shift = field.first_shift(planes)
    learned = [field.trunk, field.heads] + ([field.gate] if shares is not None and field.gate is not None else [])
    weights = [parameter.grad for part in learned for parameter in part.parameters()]
    return [x.detach() for x in (*changes.values(), shift, *(leaf.grad for leaf in leaves), *weights)]


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
def test_values_and_gradients_are_those_of_the_tensor_form(
    shape: tuple, precision: str, device: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_cuda, "_GRADIENT_PRECISION", precision)
    channels, width, point_channels, T, N, all_change = shape
    planes = HexPlaneConfig(channels=channels, resolution=4, multipliers=(1, 2, 4))
    config = FieldConfig(planes, width, deform_opacity=all_change, deform_color=all_change, dynamic_gate=all_change)
    field = DeformationField(config, BOX, 5, point_channels=point_channels)
    with torch.no_grad():
        for parameter in (*field.trunk.parameters(), *field.heads.parameters()):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    read = torch.randn(T, N, 3 * channels, generator=generator)
    features = torch.randn(T, N, point_channels, generator=generator) if point_channels else None
    shares = torch.rand(T, N, 1, generator=generator) if field.gate is not None else None
    wide = [None if x is None else x.double() for x in (read, features, shares)]
    assert wide[0] is not None
    expected = outcome(deepcopy(field).double(), wide[0], *wide[1:])
    moved = [None if x is None else x.to(device) for x in (read, features, shares)]
    assert moved[0] is not None
    with fused_parts("heads"):
        found = outcome(field.to(device), moved[0], *moved[1:])
    values = len(field.heads) + 1
    for i, (value, other) in enumerate(zip(found, expected, strict=True)):
        if i < values or precision == "tf32x3" or device == "cpu":
            torch.testing.assert_close(value.cpu(), other.float(), rtol=1e-4, atol=2e-5 * other.abs().max().item())
        else:  # in TF32, by which a hidden number next to 0 may be on the other side of its ReLU
            assert (value.cpu() - other).norm() <= 6e-2 * other.norm()


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_no_points_change_nothing(device: str) -> None:
    field = DeformationField(FieldConfig(), BOX, 5).to(device)
    with fused_parts("heads"):
        changes, *_ = outcome(field, torch.zeros(2, 0, 48, device=device), None, None)
    assert changes.shape == (2, 0, 3)
    assert not any(parameter.grad.any() for parameter in field.heads.parameters())
