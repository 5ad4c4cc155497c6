"""TSSF: reduction, sampling and fusion together."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ds4d.fusion import RULES, FusionConfig, Tssf, pca_projection, sample_at_points, standardize, visibility
from ds4d.fusion.visible_cuda import reduce_maps
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


def make(rule: str) -> Tssf:
    torch.manual_seed(1)
    return Tssf(FusionConfig(rule=rule, channels=4), D)


def test_reduction_of_maps_equals_reduction_of_samples(maps: Tensor, points: Tensor, tiny_cameras: Cameras) -> None:
    tssf = make("average")
    assert tssf.reduce is not None
    from_maps, _ = sample_at_points(tssf.reduced(maps), points, tiny_cameras)
    read, _ = sample_at_points(maps, points, tiny_cameras)
    torch.testing.assert_close(from_maps, tssf.reduce(read))


def test_reduction_is_a_1x1_convolution(maps: Tensor, generator: torch.Generator) -> None:
    tssf = make("average")
    assert tssf.reduce is not None
    weight = tssf.reduce.weight
    reduced = tssf.reduced(maps)
    expected = F.conv2d(maps.flatten(0, 1), weight[..., None, None]).unflatten(0, (T, V))
    torch.testing.assert_close(reduced, expected)
    grads = torch.randn(expected.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(reduced, weight, grads), torch.autograd.grad(expected, weight, grads)
    )


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_maps_in_half_precision_are_reduced_by_a_weight_of_ten_binary_digits(
    device: str, generator: torch.Generator
) -> None:
    maps = torch.randn(3, 40, 12, generator=generator).half().to(device)
    weight = torch.randn(8, 40, generator=generator).to(device).requires_grad_()
    reduced = reduce_maps(maps, weight)
    exact = torch.einsum("bds,cd->bsc", maps.double(), weight.double())
    size = torch.einsum("bds,cd->bsc", maps.double().abs(), weight.detach().double().abs())
    assert ((reduced - exact).abs() <= 2**-10 * size).all()
    grads = torch.randn(exact.shape, generator=generator).to(device)
    (found,), (wanted,) = (torch.autograd.grad(x, weight, grads.to(x.dtype)) for x in (reduced, exact))
    size = torch.einsum("bds,bsc->cd", maps.double().abs(), grads.double().abs())
    assert ((found - wanted).abs() <= 2**-10 * size).all()


@every_rule
def test_folded_maps_give_the_same_features(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf = make(rule)
    whole = tssf(maps, points, tiny_cameras, **extras)
    folded = tssf.folded()
    torch.testing.assert_close(folded(tssf.reduced(maps), points, tiny_cameras, **extras), whole)
    assert folded.reduce is None and tssf.reduce is not None


@every_rule
def test_gradients_reach_parameters_but_not_points(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf = make(rule)
    points.requires_grad_()
    tssf(maps, points, tiny_cameras, **extras).square().sum().backward()
    assert points.grad is None
    for name, parameter in tssf.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_rule
def test_half_precision_maps_are_sampled_in_single_precision(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    half = {name: tensor.half() for name, tensor in extras.items()}
    fused = make(rule)(maps.half(), points, tiny_cameras, **half)
    assert fused.dtype == torch.float32
    single = {name: tensor.float() for name, tensor in half.items()}
    torch.testing.assert_close(fused, make(rule)(maps.half().float(), points, tiny_cameras, **single))


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if not rule.input_view_only])
def test_views_without_an_image_are_ignored(
    rule: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    tssf, valid = make(rule), torch.ones(T, V)
    valid[:, 2] = 0
    other = maps.clone()
    other[:, 2] = 7.0
    torch.testing.assert_close(
        tssf(other, points, tiny_cameras, valid=valid, **extras),
        tssf(maps, points, tiny_cameras, valid=valid, **extras),
    )
    assert not torch.allclose(tssf(other, points, tiny_cameras, **extras), tssf(maps, points, tiny_cameras, **extras))


def test_points_hidden_in_the_input_view_sample_the_others(maps: Tensor, tiny_cameras: Cameras) -> None:
    tssf = make("visible")
    point = torch.zeros(T, 1, 3)
    depths = torch.full((T, V, 1, 8, 10), 2.0)
    depths[:, 0] = 1.0  # an occluder in front of the input camera
    other = maps.clone()
    other[:, 0] += 3.0
    torch.testing.assert_close(
        tssf(other, point, tiny_cameras, depths=depths), tssf(maps, point, tiny_cameras, depths=depths)
    )
    assert visibility(depths, point, tiny_cameras, tolerance=0.03)[:, 0].max() < 1e-6


@every_rule
def test_points_outside_all_images_are_finite(rule: str, maps: Tensor, tiny_cameras: Cameras, extras) -> None:
    far = torch.full((T, 3, 3), 50.0)
    assert make(rule)(maps, far, tiny_cameras, **extras).isfinite().all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a | {"maps": a["maps"][:, :, :5]}, "maps.*channels"),
        (lambda a: a | {"maps": a["maps"][:, :2]}, "cameras"),
        (lambda a: a | {"points": a["points"][:1]}, "points"),
        (lambda a: a | {"depths": None}, "depths.*visible"),
        (lambda a: a | {"depths": a["depths"][:, :1]}, "depths.*axes"),
    ],
)
def test_inconsistent_arguments_raise(
    change, named: str, maps: Tensor, points: Tensor, tiny_cameras: Cameras, extras: dict[str, Tensor]
) -> None:
    arguments = {"maps": maps, "points": points, "cameras": tiny_cameras, "depths": extras["depths"]}
    with pytest.raises(ValueError, match=named):
        make("visible")(**change(arguments))


def test_standardized_channels_have_mean_0_and_deviation_1(maps: Tensor) -> None:
    valid = torch.ones(T, V, dtype=torch.bool)
    scaled = 5 * maps + torch.arange(D).reshape(D, 1, 1)
    scaled[:, :, 2] = 4.0  # a constant channel
    offset, factor = standardize(scaled, valid)
    cells = ((scaled - offset.reshape(D, 1, 1)) * factor.reshape(D, 1, 1)).movedim(2, -1).flatten(0, -2)
    torch.testing.assert_close(cells.mean(0), torch.zeros(D), atol=1e-5, rtol=0)
    torch.testing.assert_close(cells.std(0, correction=0), torch.tensor([1.0, 1, 0, 1, 1, 1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [63, 64])
def test_statistics_of_a_sample_cover_all_columns(width: int) -> None:
    """There are twice 64 and twice 63 times as many cells as are sampled: a regular sample would miss columns."""
    maps = torch.zeros(2 * 1024, 1, 2, 64, width, dtype=torch.half)
    maps[..., width // 3 : width // 2] = 1.0
    maps[:, :, 1] *= -3
    offset, factor = standardize(maps, torch.ones(2 * 1024, 1, dtype=torch.bool))
    fraction = (width // 2 - width // 3) / width
    deviation = (fraction * (1 - fraction)) ** 0.5
    torch.testing.assert_close(offset, fraction * torch.tensor([1.0, -3.0]), rtol=0.03, atol=0)
    torch.testing.assert_close(factor, torch.tensor([1.0, 1 / 3]) / deviation, rtol=0.03, atol=0)
    projection = pca_projection(maps, torch.ones(2 * 1024, 1, dtype=torch.bool), 1)
    torch.testing.assert_close(projection.abs(), torch.tensor([[0.1, 0.9]]).sqrt(), rtol=0.01, atol=0)


def test_statistics_ignore_views_without_an_image(maps: Tensor) -> None:
    valid = torch.ones(T, V, dtype=torch.bool)
    valid[0, 1] = False
    spoiled = maps.clone()
    spoiled[0, 1] = 1e4
    torch.testing.assert_close(standardize(spoiled, valid), standardize(maps, valid))
    torch.testing.assert_close(pca_projection(spoiled, valid, 3), pca_projection(maps, valid, 3))


def test_pca_projection_keeps_the_directions_of_largest_variance(generator: torch.Generator) -> None:
    maps = torch.randn(1, 1, 4, 30, 30, generator=generator) * torch.tensor([0.1, 5.0, 1.0, 0.01]).reshape(4, 1, 1)
    projection = pca_projection(maps, torch.ones(1, 1, dtype=torch.bool), 2)
    torch.testing.assert_close(projection.abs(), torch.eye(4)[[1, 2]], atol=0.05, rtol=0)
    torch.testing.assert_close(projection @ projection.T, torch.eye(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", ["average", "visible"])
def test_only_hidden_points_get_features(rule: str, maps: Tensor, tiny_cameras: Cameras) -> None:
    """Two points at the origin's depth: in front of one the input camera sees an occluder."""
    points = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0]]).expand(T, 2, 3)
    depths = torch.full((T, V, 1, 8, 10), 2.5)
    depths[:, 0, :, 4:] = 1.0  # below the middle of the image: y is up
    points = points * torch.tensor([1.0, 1.0, 1.0]) - torch.tensor([0.0, 0.15, 0.0])
    torch.manual_seed(1)
    plain = Tssf(FusionConfig(rule=rule, channels=4), D)
    hidden = Tssf(FusionConfig(rule=rule, channels=4, hidden_only=True), D)
    hidden.load_state_dict(plain.state_dict())
    given = {"depths": depths} if rule == "visible" else {}
    expected, fused = plain(maps, points, tiny_cameras, **given), hidden(maps, points, tiny_cameras, depths=depths)
    torch.testing.assert_close(fused[:, 0], expected[:, 0], atol=1e-4, rtol=1e-4)
    assert fused[:, 1].abs().max() < 1e-3 < expected[:, 1].abs().max()
    no_input = torch.ones(T, V)
    no_input[:, 0] = 0  # where the input view has no image it sees nothing
    both = hidden(maps, points, tiny_cameras, depths=depths, valid=no_input)
    assert both[:, 1].abs().max() > 1e-2


def test_hidden_points_need_other_views_and_depths(maps: Tensor, points: Tensor, tiny_cameras: Cameras) -> None:
    with pytest.raises(ValueError, match="hidden_only"):
        FusionConfig(rule="input", hidden_only=True)
    assert FusionConfig(rule="average", hidden_only=True).needs_depths
    with pytest.raises(ValueError, match="depths"):
        Tssf(FusionConfig(rule="average", hidden_only=True), D)(maps, points, tiny_cameras)
