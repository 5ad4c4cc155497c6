"""The fused sums of densification against the tensor form."""

import pytest
import torch
from fused_devices import FUSED_DEVICES

from ds4d.core import fused_parts
from ds4d.training import DensificationConfig
from ds4d.training.densification import Densification


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_sums_are_those_of_the_tensor_form(lead: tuple[int, ...], device: str, generator: torch.Generator) -> None:
    gradients = torch.randn(*lead, 140, 2, generator=generator).to(device)
    radii = torch.randint(3, (*lead, 140, 2), generator=generator, dtype=torch.int32).to(device)
    found = []
    for parts in ((), ("density",)):
        sums = Densification(DensificationConfig(), 140, torch.device(device))
        with fused_parts(*parts):
            sums.accumulate(gradients, radii, (48, 36))
            sums.accumulate(2 * gradients, radii, (24, 18))
        found.append(sums.state_dict())
    torch.testing.assert_close(*found)
