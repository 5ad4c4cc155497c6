"""The objective: weights, views and names of the losses."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional as F

from ds4d.losses import (
    IMAGE_LOSSES,
    REGULARIZERS,
    LossConfig,
    LossInputs,
    Objective,
    Term,
    ViewCorrection,
    ViewCorrectionConfig,
)
from ds4d.metrics import Lpips

OFF = {**{name: Term() for name in IMAGE_LOSSES}, **{name: 0.0 for name in REGULARIZERS}}
Value = Callable[[LossInputs, str, Term | float], float]
each_image_loss = pytest.mark.parametrize("name", IMAGE_LOSSES)


@pytest.fixture
def inputs(generator: torch.Generator) -> LossInputs:
    """Four images at two times; the first two are of the input view."""

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return LossInputs(
        colors=rand(4, 3, 16, 16),
        alphas=rand(4, 1, 16, 16),
        target_colors=rand(4, 3, 16, 16),
        target_alphas=rand(4, 1, 16, 16),
        weights=torch.ones(4, 1, 1, 1),
        backgrounds=rand(4, 3),
        times=torch.tensor([0.0, 1.0, 0.0, 1.0]),
        views=torch.tensor([0, 0, 1, 2]),
        spatial_planes=[rand(3, 2, 6, 6)],
        temporal_planes=[rand(3, 2, 4, 6)],
        canonical_means=rand(10, 3),
        means=rand(2, 10, 3),
        neighbors=torch.randint(0, 10, (10, 3), generator=generator),
        still=[rand(2, 10)],
        warps=[rand(2, 2, 3, 3), rand(4, 2, 2, 3, 3)],
        gains=[rand(2, 3), rand(4, 2, 3)],
    )


@pytest.fixture
def value(lpips: Lpips) -> Value:
    """One term alone, before its weight; an image loss must be on beside regularizers."""

    def value(inputs: LossInputs, name: str, term: Term | float) -> float:
        beside = {**OFF, "mask" if name == "l1" else "l1": Term(1.0), name: term}
        return Objective(LossConfig(**beside), lpips)(inputs)[1][name].item()

    return value


def test_losses_and_config_have_the_same_names() -> None:
    assert {field.name for field in fields(LossConfig)} == set(IMAGE_LOSSES) | set(REGULARIZERS)


def test_regularizers_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="lpips must have a weight"):
        LossConfig(**{**OFF, "rigidity": 1.0})


def test_the_total_is_the_weighted_sum(inputs: LossInputs, lpips: Lpips) -> None:
    names = [*IMAGE_LOSSES, *REGULARIZERS]
    weights = {name: 0.1 * (i + 1) for i, name in enumerate(names)}
    terms = {name: Term(weights[name]) for name in IMAGE_LOSSES}
    objective = Objective(LossConfig(**terms, **{name: weights[name] for name in REGULARIZERS}), lpips)
    total, values = objective(inputs)
    assert list(values) == names
    assert total.item() == pytest.approx(sum(weights[name] * values[name].item() for name in names))
    assert all(value.item() > 0 and not value.requires_grad for value in values.values())


def test_losses_without_weight_are_not_computed(inputs: LossInputs) -> None:
    total, values = Objective(LossConfig(**{**OFF, "l1": Term(2.0)}))(inputs)
    assert list(values) == ["l1"]
    expected = (inputs.colors - inputs.target_colors).abs().mean()
    torch.testing.assert_close((values["l1"], total), (expected, 2 * expected))


@each_image_loss
def test_equal_images_have_no_loss(inputs: LossInputs, value: Value, name: str) -> None:
    perfect = replace(inputs, colors=inputs.target_colors, alphas=inputs.target_alphas)
    assert value(perfect, name, Term(1.0)) == pytest.approx(0, abs=1e-6)


@each_image_loss
def test_all_is_the_mean_of_input_and_generated_where_they_are_as_many(
    inputs: LossInputs, value: Value, name: str
) -> None:
    input_view, generated, both = (value(inputs, name, Term(1.0, views)) for views in ("input", "generated", "all"))
    assert (input_view + generated) / 2 == pytest.approx(both, rel=1e-5)
    assert min(input_view, generated) > 0


@each_image_loss
def test_losses_of_the_input_view_ignore_generated_views(inputs: LossInputs, value: Value, name: str) -> None:
    other = inputs.is_input.logical_not()[:, None, None, None]
    changed = replace(
        inputs,
        colors=torch.where(other, torch.zeros(()), inputs.colors),
        alphas=torch.where(other, torch.zeros(()), inputs.alphas),
    )
    assert value(changed, name, Term(1.0, "input")) == value(inputs, name, Term(1.0, "input"))
    assert value(changed, name, Term(1.0, "generated")) != value(inputs, name, Term(1.0, "generated"))


@each_image_loss
def test_image_weights_scale_the_loss(inputs: LossInputs, value: Value, name: str) -> None:
    uncertain = replace(inputs, weights=torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(4, 1, 1, 1))
    assert value(uncertain, name, Term(1.0)) == pytest.approx(value(inputs, name, Term(1.0, "input")) / 2, rel=1e-5)


@each_image_loss
def test_losses_of_the_input_view_are_zero_without_it(inputs: LossInputs, value: Value, name: str) -> None:
    assert value(replace(inputs, views=torch.tensor([1, 2, 1, 2])), name, Term(1.0, "input")) == 0


@pytest.mark.parametrize("name", ["l1", "mse", "mask"])
def test_pixel_weights_scale_the_loss(inputs: LossInputs, value: Value, name: str) -> None:
    half = torch.zeros(4, 1, 16, 16)
    half[..., :8] = 1
    assert value(replace(inputs, weights=half), name, Term(1.0)) < value(inputs, name, Term(1.0))


def test_regularizers_are_left_out_while_they_do_not_apply(inputs: LossInputs) -> None:
    static = replace(inputs, spatial_planes=[], temporal_planes=[], warps=[], gains=[])
    _, values = Objective(LossConfig(rigidity=1.0))(static)
    assert list(values) == ["l1", "ssim", "mask"]


@pytest.mark.parametrize(("weight", "needed"), [(0.0, False), (0.5, True)])
def test_rigidity_needs_neighbors(weight: float, needed: bool) -> None:
    assert Objective(LossConfig(rigidity=weight)).needs_neighbors == needed


@pytest.mark.parametrize(("name", "expected"), [("view_warps", 0.25 + 1.0), ("view_gains", 0.25 + 4.0)])
def test_view_correction_is_penalized_by_mean_squares(
    inputs: LossInputs, value: Value, name: str, expected: float
) -> None:
    warps = [torch.full((2, 2, 3, 3), 0.5), torch.full((4, 2, 2, 3, 3), -1.0)]
    gains = [torch.full((2, 3), 0.5), torch.full((4, 2, 3), 2.0)]
    assert value(replace(inputs, warps=warps, gains=gains), name, 1.0) == pytest.approx(expected)


def test_losses_compare_corrected_renderings(inputs: LossInputs) -> None:
    correction = ViewCorrection(ViewCorrectionConfig(grid=3, knots=2), torch.tensor([False, True, True]))
    with torch.no_grad():
        correction.gain[1:] = 0.2
    objective = Objective(LossConfig(**{**OFF, "l1": Term(1.0), "view_gains": 2.0}), view_correction=correction)
    total, values = objective(inputs)
    colors, _ = correction(inputs.colors, inputs.alphas, inputs.backgrounds, inputs.times, inputs.views)
    l1 = (colors - inputs.target_colors).abs().mean()
    torch.testing.assert_close(values, {"l1": l1.detach(), "view_gains": torch.tensor(0.04)})
    torch.testing.assert_close(total, l1 + 2 * 0.04)


def test_lpips_is_left_out_without_its_network(inputs: LossInputs, lpips: Lpips) -> None:
    config = LossConfig(lpips=Term(0.5, "generated"))
    total, values = Objective(config)(inputs)
    assert "lpips" not in values and values.keys() == Objective(LossConfig())(inputs)[1].keys()
    more, measured = Objective(config, lpips)(inputs)
    assert measured["lpips"].item() == pytest.approx(lpips(inputs.colors[2:], inputs.target_colors[2:]).mean().item())
    assert more.item() == pytest.approx(total.item() + 0.5 * measured["lpips"].item())


def test_lpips_may_be_the_only_image_loss(inputs: LossInputs, lpips: Lpips) -> None:
    config = LossConfig(**{**OFF, "lpips": Term(0.5)})
    total, values = Objective(config, lpips)(inputs)
    assert list(values) == ["lpips"] and total.item() == pytest.approx(0.5 * values["lpips"].item())
    with pytest.raises(ValueError, match="lpips"):
        Objective(config)


@pytest.mark.parametrize(("name", "torchs"), [("l1", F.l1_loss), ("mse", F.mse_loss)])
def test_pixel_errors_equal_those_of_torch(inputs: LossInputs, value: Value, name: str, torchs: Callable) -> None:
    assert value(inputs, name, Term(1.0)) == pytest.approx(torchs(inputs.colors, inputs.target_colors).item())
