"""TSSF as a whole: reading, reducing and fusing."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ds4d.fusion import RULES, FusionConfig, Tssf, principal_map, sample_at_points, standardize, visibility
from ds4d.types import Cameras

T, V, D, N = 2, 3, 6, 20

every_rule = pytest.mark.parametrize("rule", RULES)


@pytest.fixture
def maps(generator: torch.Generator) -> Tensor:
    return torch.randn(T, V, D, 8, 10, generator=generator)


@pytest.fixture
def points(generator: torch.Generator) -> Tensor:
    return 0.8 * torch.rand(T, N, 3, generator=generator) - 0.4


@pytest.fixture
def extras(generator: torch.Generator) -> dict[str, Tensor]:
    return {
        "distance_maps": torch.randn(T, V, 2, 8, 10, generator=generator),
        "depths": 1.8 + 0.4 * torch.rand(T, V, 1, 16, 20, generator=generator),
    }


def made(rule: str) -> Tssf:
    torch.manual_seed(1)
    return Tssf(FusionConfig(rule=rule, channels=4), D)  # ty: ignore[invalid-argument-type]


def test_reducing_the_maps_equals_reducing_what_was_read(maps: Tensor, points: Tensor, tiny_cameras: Cameras) -> None:
    tssf = made("average")
    assert tssf.reduce is not None
    from_maps, _ = sample_at_points(tssf.reduced(maps), points, tiny_cameras)
    read, _ = sample_at_points(maps, points, tiny_cameras)
    torch.testing.assert_close(from_maps, tssf.reduce(read))


def test_reducing_is_a_convolution_by_single_cells(maps: Tensor, generator: torch.Generator) -> None:
    tssf = made("average")
    assert tssf.reduce is not None
    weight = tssf.reduce.weight
    reduced = tssf.reduced(maps)
    expected = F.conv2d(maps.flatten(0, 1), weight[..., None, None]).unflatten(0, (T, V))
    torch.testing.assert_close(reduced, expected)
    grads = torch.randn(expected.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(reduced, weight, grads), torch.autograd.grad(expected, weight, grads)
    )


@every_rule
def test_folded_maps_give_the_same_features(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf = made(rule)
    whole = tssf(maps, points, tiny_cameras, **extras)
    folded = tssf.folded()
    torch.testing.assert_close(folded(tssf.reduced(maps), points, tiny_cameras, **extras), whole)
    assert folded.reduce is None and tssf.reduce is not None


@every_rule
def test_everything_learned_gets_a_gradient_and_the_points_none(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf = made(rule)
    points.requires_grad_()
    tssf(maps, points, tiny_cameras, **extras).square().sum().backward()
    assert points.grad is None
    for name, parameter in tssf.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_rule
def test_half_precision_maps_are_read_in_single_precision(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    half = {name: tensor.half() for name, tensor in extras.items()}
    fused = made(rule)(maps.half(), points, tiny_cameras, **half)
    assert fused.dtype == torch.float32
    single = {name: tensor.float() for name, tensor in half.items()}
    torch.testing.assert_close(fused, made(rule)(maps.half().float(), points, tiny_cameras, **single))


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"front"}))
def test_a_view_without_a_image_does_not_count(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf, valid = made(rule), torch.ones(T, V)
    valid[:, 2] = 0
    other = maps.clone()
    other[:, 2] = 7.0
    torch.testing.assert_close(
        tssf(other, points, tiny_cameras, valid=valid, **extras),
        tssf(maps, points, tiny_cameras, valid=valid, **extras),
    )
    assert not torch.allclose(tssf(other, points, tiny_cameras, **extras), tssf(maps, points, tiny_cameras, **extras))


def test_points_hidden_in_the_front_view_read_the_views_that_see_them(maps: Tensor, tiny_cameras: Cameras) -> None:
    tssf = made("visible")
    point = torch.zeros(T, 1, 3)
    depths = torch.full((T, V, 1, 8, 10), 2.0)
    depths[:, 0] = 1.0  # something stands before the front camera
    other = maps.clone()
    other[:, 0] += 3.0
    torch.testing.assert_close(
        tssf(other, point, tiny_cameras, depths=depths), tssf(maps, point, tiny_cameras, depths=depths)
    )
    assert visibility(depths, point, tiny_cameras, tolerance=0.03)[:, 0].max() < 1e-6


@every_rule
def test_points_outside_every_view_are_finite(rule: str, maps: Tensor, tiny_cameras: Cameras, extras) -> None:
    far = torch.full((T, 3, 3), 50.0)
    assert made(rule)(maps, far, tiny_cameras, **extras).isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"maps": a["maps"][:, :, :5]}, "maps must have 6 channels, got 5"),
        (lambda a: a | {"maps": a["maps"][:, :2]}, "cameras must have the 2 views of maps, got 3"),
        (lambda a: a | {"points": a["points"][:1]}, r"points must have the leading axes \[2\] of maps, got \[1\]"),
        (lambda a: a | {"depths": None}, "depths must be given for the rule 'visible'"),
        (lambda a: a | {"depths": a["depths"][:, :1]}, r"depths must have the leading axes \[2, 3\] of maps"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    change, message: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    arguments = {"maps": maps, "points": points, "cameras": tiny_cameras, "depths": extras["depths"]}
    with pytest.raises(ValueError, match=message):
        made("visible")(**change(arguments))


def test_standardized_channels_have_mean_0_and_deviation_1(maps: Tensor) -> None:
    valid = torch.ones(T, V, dtype=torch.bool)
    scaled = 5 * maps + torch.arange(D).reshape(D, 1, 1)
    scaled[:, :, 2] = 4.0  # a channel that never changes
    offset, factor = standardize(scaled, valid)
    cells = ((scaled - offset.reshape(D, 1, 1)) * factor.reshape(D, 1, 1)).movedim(2, -1).flatten(0, -2)
    torch.testing.assert_close(cells.mean(0), torch.zeros(D), atol=1e-5, rtol=0)
    torch.testing.assert_close(cells.std(0, correction=0), torch.tensor([1.0, 1, 0, 1, 1, 1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [63, 64])
def test_statistics_of_a_long_clip_are_those_of_all_its_columns(width: int) -> None:
    """Twice 64 and twice 63 times as many cells as are looked at: thinned evenly, they would be of few columns."""
    maps = torch.zeros(2 * 1024, 1, 2, 64, width, dtype=torch.half)
    maps[..., width // 3 : width // 2] = 1.0
    maps[:, :, 1] *= -3
    offset, factor = standardize(maps, torch.ones(2 * 1024, 1, dtype=torch.bool))
    share = (width // 2 - width // 3) / width
    deviation = (share * (1 - share)) ** 0.5
    torch.testing.assert_close(offset, share * torch.tensor([1.0, -3.0]), rtol=0.03, atol=0)
    torch.testing.assert_close(factor, torch.tensor([1.0, 1 / 3]) / deviation, rtol=0.03, atol=0)
    projection = principal_map(maps, torch.ones(2 * 1024, 1, dtype=torch.bool), 1)
    torch.testing.assert_close(projection.abs(), torch.tensor([[0.1, 0.9]]).sqrt(), rtol=0.01, atol=0)


def test_images_that_do_not_exist_are_left_out_of_the_statistics(maps: Tensor) -> None:
    valid = torch.ones(T, V, dtype=torch.bool)
    valid[0, 1] = False
    spoiled = maps.clone()
    spoiled[0, 1] = 1e4
    torch.testing.assert_close(standardize(spoiled, valid), standardize(maps, valid))
    torch.testing.assert_close(principal_map(spoiled, valid, 3), principal_map(maps, valid, 3))


def test_the_principal_map_keeps_the_directions_that_vary_most(generator: torch.Generator) -> None:
    maps = torch.randn(1, 1, 4, 30, 30, generator=generator) * torch.tensor([0.1, 5.0, 1.0, 0.01]).reshape(4, 1, 1)
    projection = principal_map(maps, torch.ones(1, 1, dtype=torch.bool), 2)
    torch.testing.assert_close(projection.abs(), torch.eye(4)[[1, 2]], atol=0.05, rtol=0)
    torch.testing.assert_close(projection @ projection.T, torch.eye(2), atol=1e-5, rtol=0)
