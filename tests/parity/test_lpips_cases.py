"""LPIPS against torchmetrics' own values, stored by make_lpips_cases.py for a fixed random backbone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ds4d.metrics import Lpips

FILE = Path(__file__).with_name("lpips_cases.safetensors")


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return load_file(FILE)


def test_equals_torchmetrics(stored: dict[str, Tensor], lpips: Lpips) -> None:
    images = stored["images"].float().requires_grad_()
    values = lpips(images, stored["targets"].float())
    torch.testing.assert_close(values, stored["values"], rtol=1e-4, atol=1e-6)
    values.sum().backward()
    # The order of the sums in thirteen layers depends on the machine.
    error = (images.grad - stored["gradient"]).norm() / stored["gradient"].norm()
    assert error < 1e-3


def test_every_layer_contributes_to_the_stored_values(stored: dict[str, Tensor]) -> None:
    """Otherwise an error in a layer could go unnoticed."""
    torch.testing.assert_close(stored["layers"].sum(0), stored["values"])
    assert (stored["layers"] > 1e-2 * stored["values"]).all()
