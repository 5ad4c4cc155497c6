"""The deformation field starts as the identity, and everything in it learns."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ds4d.deformation import DeformationField, FieldConfig, HexPlaneConfig
from ds4d.types import RawGaussians

BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
EVERYTHING = FieldConfig(
    hexplane=HexPlaneConfig(channels=4, resolution=6, multipliers=(1, 2)),
    width=16,
    depth=2,
    deform_opacity=True,
    deform_color=True,
)
TIMES = torch.tensor([0.0, 0.3, 1.0])
MOVING = ("means", "quats", "log_scales", "opacity_logits")


def trained(config: FieldConfig = EVERYTHING, *, point_channels: int = 0) -> DeformationField:
    """A field whose planes and heads hold random values, as after some steps."""
    field = DeformationField(config, BOX, 5, point_channels=point_channels)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return field


@pytest.mark.parametrize("config", [EVERYTHING, FieldConfig()], ids=["everything", "default"])
@pytest.mark.parametrize("channels", [0, 5])
def test_an_untrained_field_changes_nothing(tiny_gaussians: RawGaussians, config: FieldConfig, channels: int) -> None:
    features = torch.randn(3, 12, channels) if channels else None
    moved = DeformationField(config, BOX, 5, point_channels=channels)(tiny_gaussians, TIMES, features)
    for name in MOVING:
        expected = getattr(tiny_gaussians, name)
        assert torch.equal(getattr(moved, name), expected.expand(3, *expected.shape)), name
    for time in range(3):
        assert torch.equal(moved.at_time(time).sh, tiny_gaussians.sh)


def test_at_the_first_step_only_the_last_layers_learn(tiny_gaussians: RawGaussians) -> None:
    """The price of starting as the identity: zeros let no gradient through to the trunk and the planes."""
    field = DeformationField(EVERYTHING, BOX, 5)
    total(field(tiny_gaussians, TIMES)).backward()
    last = {id(parameter) for head in field.heads.values() for parameter in head[-1].parameters()}
    for name, parameter in field.named_parameters():
        learns = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert learns == (id(parameter) in last), name


def test_each_parameter_receives_gradient_after_that(tiny_gaussians: RawGaussians) -> None:
    field = trained(point_channels=5)
    raw = replace(tiny_gaussians, means=tiny_gaussians.means.clone().requires_grad_())
    features = torch.randn(3, 12, 5, requires_grad=True)
    total(field(raw, TIMES, features)).backward()
    for name, parameter in [*field.named_parameters(), ("means", raw.means), ("features", features)]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def total(gaussians: RawGaussians) -> torch.Tensor:
    return sum((getattr(gaussians, name) ** 2).sum() for name in vars(gaussians))


def test_a_batch_of_times_is_the_times_one_by_one(tiny_gaussians: RawGaussians) -> None:
    field, features = trained(point_channels=5), torch.randn(3, 12, 5)
    together = field(tiny_gaussians, TIMES, features)
    for index in range(3):
        alone = field(tiny_gaussians, TIMES[index : index + 1], features[index : index + 1])
        for name in vars(alone):
            torch.testing.assert_close(getattr(alone.at_time(0), name), getattr(together.at_time(index), name))


def test_time_and_point_features_move_the_gaussians(tiny_gaussians: RawGaussians) -> None:
    field, features = trained(point_channels=5), torch.randn(3, 12, 5)
    moved = field(tiny_gaussians, TIMES, features)
    assert (moved.means[0] - moved.means[2]).abs().max() > 1e-3
    assert (field(tiny_gaussians, TIMES, 2 * features).means - moved.means).abs().max() > 1e-3


@pytest.mark.parametrize("opacity", [False, True])
@pytest.mark.parametrize("color", [False, True])
def test_opacities_and_colors_move_only_when_asked_to(tiny_gaussians: RawGaussians, opacity: bool, color: bool) -> None:
    moved = trained(replace(EVERYTHING, deform_opacity=opacity, deform_color=color))(tiny_gaussians, TIMES)
    still = tiny_gaussians.opacity_logits.expand(3, 12)
    assert torch.equal(moved.opacity_logits, still) != opacity
    if color:
        assert not torch.equal(moved.sh[0, :, 0], tiny_gaussians.sh[:, 0])
        assert torch.equal(moved.sh[2, :, 1:], tiny_gaussians.sh[:, 1:])
    else:
        assert moved.sh is tiny_gaussians.sh


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_counts_the_layers_of_the_trunk(depth: int) -> None:
    trunk = DeformationField(replace(EVERYTHING, depth=depth), BOX, 5).trunk
    assert sum(isinstance(layer, nn.Linear) for layer in trunk) == depth


@pytest.mark.parametrize("channels", [16, 5, 0])
def test_the_first_layer_learns_the_same_with_any_number_of_threads(channels: int) -> None:
    """A side of 40, that of the preset `cpu`, would be split among the threads."""
    config = FieldConfig(HexPlaneConfig(channels=8, resolution=6), width=32)
    generator = torch.Generator().manual_seed(1)
    planes, features = torch.randn(2, 300, 24, generator=generator), torch.randn(2, 300, channels, generator=generator)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 4, 8):
            torch.set_num_threads(threads)
            field = trained(config, point_channels=channels)
            sum(change.square().sum() for change in field.changes_of(planes, features).values()).backward()
            found.append([parameter.grad for parameter in field.trunk.parameters()])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
