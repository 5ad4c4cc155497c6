"""Fused changes and activation of Gaussians against the tensor form in double precision."""

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.deformation import DeformationField
from ds4d.types import RawGaussians

SIZES = {"means": 3, "quats": 4, "log_scales": 3, "opacity_logits": 1, "sh": 3}
NAMES = ("means", "quats", "log_scales", "opacity_logits", "sh")


def outcome(raw: dict[str, Tensor], changes: dict[str, Tensor]) -> list[Tensor]:
    """What is rendered, and the gradients of all that it is made of."""
    raw = {name: value.detach().requires_grad_() for name, value in raw.items()}
    changes = {name: value.detach().requires_grad_() for name, value in changes.items()}
    gaussians = DeformationField.activated(RawGaussians(**raw), changes)
    rendered = list(vars(gaussians).values())
    generator = torch.Generator().manual_seed(6)
    pulls = [torch.randn(x.shape, generator=generator).to(x) for x in rendered]
    gradients = torch.autograd.grad(rendered, [*raw.values(), *changes.values()], pulls)
    return [x.detach() for x in (*rendered, *gradients)]


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize(
    ("changed", "bases"), [(NAMES, 1), (("means", "quats", "log_scales"), 1), (NAMES[:4], 4), (NAMES, 4)]
)
def test_values_and_gradients_are_those_of_the_tensor_form(
    changed: tuple[str, ...], bases: int, device: str, generator: torch.Generator
) -> None:
    T, N = 3, 130
    raw = {name: torch.randn(N, size, generator=generator) for name, size in SIZES.items()}
    raw |= {"opacity_logits": raw["opacity_logits"][:, 0], "sh": torch.randn(N, bases, 3, generator=generator)}
    changes = {name: torch.randn(T, N, SIZES[name], generator=generator) for name in changed}
    raw["quats"][0] = changes["quats"][:, 0] = 0.0  # no rotation at all
    expected = outcome({k: x.double() for k, x in raw.items()}, {k: x.double() for k, x in changes.items()})
    with fused_parts("gaussians"):
        found = outcome({k: x.to(device) for k, x in raw.items()}, {k: x.to(device) for k, x in changes.items()})
    for value, wide in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), wide.float(), rtol=1e-5, atol=1e-5)
