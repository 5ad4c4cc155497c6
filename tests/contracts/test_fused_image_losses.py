"""The fused losses of images against the tensor form in double precision."""

from dataclasses import replace

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.core import fused_parts
from ds4d.losses import LossConfig, LossInputs, Objective, Term

CONFIGS = {
    "as in a fit": LossConfig(),
    "all": LossConfig(l1=Term(0.7), mse=Term(0.4, "input"), ssim=Term(0.3, "generated"), mask=Term(0.2)),
    "without ssim": LossConfig(l1=Term(1.0, "generated"), ssim=Term()),
    "ssim alone": LossConfig(l1=Term(), ssim=Term(1.0), mask=Term()),
}


def inputs_of(views: list[int], height: int, width: int, *, pixel_weights: bool = False) -> LossInputs:
    generator, count = torch.Generator().manual_seed(1), len(views)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    images = random(count, height, width, 4).movedim(-1, 1)  # in memory as a renderer leaves them
    targets = random(count, 4, height, width)
    targets[0, :3, :4] = images[0, :3, :4]  # errors of 0, where absolute values have no slope
    return LossInputs(
        colors=images[:, :3],
        alphas=images[:, 3:],
        target_colors=targets[:, :3],
        target_alphas=targets[:, 3:],
        weights=random(count, 1, *((height, width) if pixel_weights else (1, 1))),
        backgrounds=torch.zeros(count, 3),
        times=torch.zeros(count),
        views=torch.tensor(views),
        canonical_means=torch.zeros(0, 3),
        means=torch.zeros(1, 0, 3),
        neighbors=torch.zeros(0, 1, dtype=torch.long),
    )


def outcome(config: LossConfig, inputs: LossInputs, device: str, dtype: torch.dtype) -> list[Tensor]:
    """Total, values, and gradients of the rendered images."""
    tensors = {name: value for name, value in vars(inputs).items() if isinstance(value, Tensor)}
    moved = {name: x.to(device, dtype if x.is_floating_point() else x.dtype) for name, x in tensors.items()}
    leaves = [moved[name].detach().requires_grad_() for name in ("colors", "alphas")]
    total, values = Objective(config)(replace(inputs, **{**moved, "colors": leaves[0], "alphas": leaves[1]}))
    gradients = torch.autograd.grad(3 * total, leaves, allow_unused=True, materialize_grads=True)
    return [total.detach(), *(values[name] for name in sorted(values)), *gradients]


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize(
    ("views", "size", "pixel_weights"),
    [([0, 3, 0, 1, 2], (20, 90), False), ([1, 2], (33, 11), True), ([0], (11, 30), True)],
)
def test_values_and_gradients_are_those_of_the_tensor_form(
    config: LossConfig, views: list[int], size: tuple[int, int], pixel_weights: bool, device: str
) -> None:
    inputs = inputs_of(views, *size, pixel_weights=pixel_weights)
    expected = outcome(config, inputs, "cpu", torch.float64)
    with fused_parts("image_losses"):
        found = outcome(config, inputs, device, torch.float32)
    assert len(found) == len(expected)
    for value, wide in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), wide.float(), rtol=2e-5, atol=2e-5 * wide.abs().max().item())


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_bright_images_that_are_almost_flat_keep_their_structure(device: str) -> None:
    inputs = inputs_of([0, 1], 24, 24)
    flat = replace(inputs, colors=1 - 1e-3 * inputs.colors, target_colors=1 - 1e-3 * inputs.target_colors)
    expected = outcome(CONFIGS["ssim alone"], flat, "cpu", torch.float64)
    with fused_parts("image_losses"):
        found = outcome(CONFIGS["ssim alone"], flat, device, torch.float32)
    torch.testing.assert_close(found[0].cpu(), expected[0].float(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_images_smaller_than_the_window_are_refused_as_ever(device: str) -> None:
    with fused_parts("image_losses"), pytest.raises(ValueError, match="11 pixels"):
        outcome(LossConfig(), inputs_of([0], 8, 20), device, torch.float32)
