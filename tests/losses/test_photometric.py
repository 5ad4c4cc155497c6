"""Pixel errors: zero for equals, unreduced, known values, torch's own, known gradients."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from ds4d.losses import l1, squared

PAIRS = [(l1, F.l1_loss), (squared, F.mse_loss)]
losses = pytest.mark.parametrize(("loss", "torchs"), PAIRS, ids=["l1", "squared"])


@losses
def test_equal_images_cost_nothing(loss: Callable, torchs: Callable) -> None:
    image = torch.rand(2, 3, 4, 5)
    assert loss(image, image).abs().max() == 0


@losses
def test_errors_stay_per_pixel_and_equal_torchs(loss: Callable, torchs: Callable) -> None:
    pred, target = torch.rand(2, 7, 3, 4, 5), torch.rand(2, 7, 3, 4, 5)
    assert loss(pred, target).shape == pred.shape
    torch.testing.assert_close(loss(pred, target), torchs(pred, target, reduction="none"))


@pytest.mark.parametrize(("loss", "value", "slope"), [(l1, 0.5, -1.0), (squared, 0.25, -1.0)], ids=["l1", "squared"])
def test_known_value_and_gradient(loss: Callable, value: float, slope: float) -> None:
    pred = torch.full((1, 1, 1), 0.25, requires_grad=True)
    error = loss(pred, torch.full((1, 1, 1), 0.75))
    error.sum().backward()
    assert (error.item(), pred.grad.item()) == (value, slope)
