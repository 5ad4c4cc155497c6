"""The objective: which terms count, for which views, how much."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch

from ds4d.losses import IMAGE_LOSSES, REGULARIZERS, LossConfig, LossInputs, Objective, Term
from ds4d.metrics import Lpips

OF_IMAGES = [*IMAGE_LOSSES, "lpips"]
OFF = {**{name: Term() for name in OF_IMAGES}, **{name: 0.0 for name in REGULARIZERS}}
Value = Callable[[LossInputs, str, Term], float]
each_loss_of_images = pytest.mark.parametrize("name", OF_IMAGES)


@pytest.fixture
def inputs(generator: torch.Generator) -> LossInputs:
    """Four images of two times; the first two are of the real view."""

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
    )


@pytest.fixture
def value(lpips: Lpips) -> Value:
    """One term alone, before its weight; beside it stands one that is never asked for its value."""

    def value(inputs: LossInputs, name: str, term: Term) -> float:
        beside = {**OFF, "mask" if name == "l1" else "l1": Term(1.0), name: term}
        return Objective(LossConfig(**beside), lpips)(inputs)[1][name].item()

    return value


def test_every_term_has_a_weight_and_every_weight_a_term() -> None:
    assert {field.name for field in fields(LossConfig)} == set(OF_IMAGES) | set(REGULARIZERS)


def test_regularizers_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="l1, mse, ssim, mask must have a weight"):
        LossConfig(**{**OFF, "rigidity": 1.0})


def test_the_total_is_the_weighted_sum(inputs: LossInputs, lpips: Lpips) -> None:
    names = [*OF_IMAGES, *REGULARIZERS]
    weights = {name: 0.1 * (i + 1) for i, name in enumerate(names)}
    terms = {name: Term(weights[name]) for name in OF_IMAGES}
    objective = Objective(LossConfig(**terms, **{name: weights[name] for name in REGULARIZERS}), lpips)
    total, values = objective(inputs)
    assert list(values) == names
    assert total.item() == pytest.approx(sum(weights[name] * values[name].item() for name in names))
    assert all(value.item() > 0 and not value.requires_grad for value in values.values())


def test_terms_without_weight_are_not_computed(inputs: LossInputs) -> None:
    total, values = Objective(LossConfig(**{**OFF, "l1": Term(2.0)}))(inputs)
    assert list(values) == ["l1"]
    expected = (inputs.colors - inputs.target_colors).abs().mean()
    torch.testing.assert_close((values["l1"], total), (expected, 2 * expected))


@each_loss_of_images
def test_perfect_images_cost_nothing(inputs: LossInputs, value: Value, name: str) -> None:
    perfect = replace(inputs, colors=inputs.target_colors, alphas=inputs.target_alphas)
    assert value(perfect, name, Term(1.0)) == pytest.approx(0, abs=1e-6)


@each_loss_of_images
def test_all_is_the_mean_of_input_and_generated_where_they_are_as_many(
    inputs: LossInputs, value: Value, name: str
) -> None:
    input_view, generated, both = (value(inputs, name, Term(1.0, views)) for views in ("input", "generated", "all"))
    assert (input_view + generated) / 2 == pytest.approx(both, rel=1e-5)
    assert min(input_view, generated) > 0


@each_loss_of_images
def test_a_term_of_the_real_views_is_blind_to_the_others(inputs: LossInputs, value: Value, name: str) -> None:
    other = inputs.is_input.logical_not()[:, None, None, None]
    spoilt = replace(
        inputs,
        colors=torch.where(other, torch.zeros(()), inputs.colors),
        alphas=torch.where(other, torch.zeros(()), inputs.alphas),
    )
    assert value(spoilt, name, Term(1.0, "input")) == value(inputs, name, Term(1.0, "input"))
    assert value(spoilt, name, Term(1.0, "generated")) != value(inputs, name, Term(1.0, "generated"))


@each_loss_of_images
def test_trust_scales_a_images_cost(inputs: LossInputs, value: Value, name: str) -> None:
    uncertain = replace(inputs, weights=torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(4, 1, 1, 1))
    assert value(uncertain, name, Term(1.0)) == pytest.approx(value(inputs, name, Term(1.0, "input")) / 2, rel=1e-5)


@each_loss_of_images
def test_a_loss_of_real_views_is_nothing_where_none_is_real(inputs: LossInputs, value: Value, name: str) -> None:
    assert value(replace(inputs, views=torch.tensor([1, 2, 1, 2])), name, Term(1.0, "input")) == 0


@pytest.mark.parametrize("name", ["l1", "mse", "mask"])
def test_trust_may_differ_from_pixel_to_pixel(inputs: LossInputs, value: Value, name: str) -> None:
    half = torch.zeros(4, 1, 16, 16)
    half[..., :8] = 1
    assert value(replace(inputs, weights=half), name, Term(1.0)) < value(inputs, name, Term(1.0))


def test_terms_of_the_field_wait_until_there_is_one(inputs: LossInputs) -> None:
    still = replace(inputs, spatial_planes=[], temporal_planes=[])
    objective = Objective(LossConfig(rigidity=1.0))
    _, values = objective(still)
    assert list(values) == ["l1", "ssim", "mask"]


@pytest.mark.parametrize(("weight", "needed"), [(0.0, False), (0.5, True)])
def test_neighbors_are_asked_for_by_rigidity_alone(weight: float, needed: bool) -> None:
    assert Objective(LossConfig(rigidity=weight)).needs_neighbors == needed


def test_lpips_is_left_out_without_its_network(inputs: LossInputs, lpips: Lpips) -> None:
    config = LossConfig(lpips=Term(0.5, "generated"))
    total, values = Objective(config)(inputs)
    assert "lpips" not in values and values.keys() == Objective(LossConfig())(inputs)[1].keys()
    more, measured = Objective(config, lpips)(inputs)
    assert measured["lpips"].item() == pytest.approx(lpips(inputs.colors[2:], inputs.target_colors[2:]).mean().item())
    assert more.item() == pytest.approx(total.item() + 0.5 * measured["lpips"].item())
