"""Density control: who is counted, who grows, who goes, and what becomes of the rows."""

import math
from dataclasses import replace

import pytest
import torch

from ds4d.scene import Resampling
from ds4d.training import DensityConfig, DensityControl, prune_outliers
from ds4d.types import RawGaussians

CPU = torch.device("cpu")


def gaussians(count: int, *, size: float = 0.005, opacity: float = 0.5) -> RawGaussians:
    """A row of equal Gaussians, one unit apart."""
    means = torch.zeros(count, 3)
    means[:, 0] = torch.arange(count)
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1
    return RawGaussians(
        means=means,
        quats=quats,
        log_scales=torch.full((count, 3), math.log(size)),
        opacity_logits=torch.full((count,), math.log(opacity / (1 - opacity))),
        sh=torch.zeros(count, 1, 3),
    )


def resampled(raw: RawGaussians, grad2d: list[float], *, seed: int = 0, **config: float) -> Resampling:
    """One event after every Gaussian was drawn once and pulled so hard."""
    control = DensityControl(DensityConfig(**{"grow_fraction": 0.25, **config}), raw.num_gaussians, CPU)
    control.grad2d, control.counts = torch.tensor(grad2d), torch.ones(raw.num_gaussians)
    return control.resampling(raw, torch.Generator().manual_seed(seed))


def test_events_fall_on_multiples_within_the_span() -> None:
    control = DensityControl(DensityConfig(every=10, start=0.2, stop=0.5), 1, CPU)
    assert [step for step in range(1, 101) if control.is_due(step, 100)] == [20, 30, 40, 50]


def test_pulls_are_counted_per_half_image_and_only_where_drawn() -> None:
    control = DensityControl(DensityConfig(), 3, CPU)
    gradients = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])
    radii = torch.tensor([[[2, 2], [1, 1], [0, 0]]])
    control.observe(gradients, radii, (20, 8))
    assert control.grad2d.tolist() == [30, 4, 0]
    assert control.counts.tolist() == [1, 1, 0]


def test_times_and_views_add_up(generator: torch.Generator) -> None:
    gradients = torch.randn(2, 3, 5, 2, generator=generator)
    radii = torch.randint(0, 3, (2, 3, 5, 2), generator=generator)
    together, apart = (DensityControl(DensityConfig(), 5, CPU) for _ in range(2))
    together.observe(gradients, radii, (20, 8))
    for one_gradients, one_radii in zip(gradients.flatten(0, 1), radii.flatten(0, 1), strict=True):
        apart.observe(one_gradients[None], one_radii[None], (20, 8))
    torch.testing.assert_close(together.grad2d, apart.grad2d)
    assert torch.equal(together.counts, apart.counts)


def test_the_hardest_pulled_small_ones_are_copied() -> None:
    raw = gaussians(8)
    result = resampled(raw, [0.0, 5, 0.1, 9, 0.2, 0, 0, 0])
    assert result.sources.tolist() == [*range(8), 3, 1]
    assert result.fresh.tolist() == [False] * 8 + [True] * 2
    assert torch.equal(result.means, raw.means[result.sources])
    assert torch.equal(result.log_scales, raw.log_scales[result.sources])


def test_the_pull_is_a_mean_over_the_views_that_drew_the_gaussian() -> None:
    control = DensityControl(DensityConfig(grow_fraction=0.25), 4, CPU)
    control.grad2d, control.counts = torch.tensor([10.0, 8, 0, 0]), torch.tensor([10.0, 2, 1, 1])
    assert control.resampling(gaussians(4), torch.Generator()).sources.tolist() == [0, 1, 2, 3, 1]


def test_large_ones_are_replaced_by_two_smaller_ones() -> None:
    raw = gaussians(4, size=0.05)
    result = resampled(raw, [0.0, 0, 1, 0])
    assert result.sources.tolist() == [0, 1, 3, 2, 2]
    assert result.fresh.tolist() == [False] * 3 + [True] * 2
    torch.testing.assert_close(result.log_scales[3:].exp(), torch.full((2, 3), 0.05 / 1.6))
    assert torch.equal(result.means[:3], raw.means[[0, 1, 3]])


def test_the_halves_are_scattered_as_the_gaussian_itself() -> None:
    """A flat disc turned to face x scatters along y and z only: its x spread stays the small axis's."""
    raw = gaussians(4000, size=0.05)
    flat = raw.log_scales.clone()
    flat[:, 2] = math.log(1e-4)
    quarter_turn_about_y = torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5), 0])  # z becomes x
    raw = replace(raw, log_scales=flat, quats=quarter_turn_about_y.expand(4000, 4))
    result = resampled(raw, [1.0] * 4000, grow_fraction=1.0, max_gaussians=100_000)
    offsets = result.means - raw.means[result.sources]
    spread = offsets.square().mean(0).sqrt()
    # 8000 samples give a standard deviation to 1 %.
    torch.testing.assert_close(spread[1:], torch.full((2,), 0.05), rtol=0.04, atol=0)
    assert spread[0] < 1e-3  # rounding of means near 4000 adds to the 1e-4


def test_the_faint_and_the_huge_go_and_do_not_grow() -> None:
    raw = gaussians(8)
    logits, log_scales = raw.opacity_logits.clone(), raw.log_scales.clone()
    logits[0] = -6.0
    log_scales[1, 2] = math.log(0.2)
    result = resampled(replace(raw, opacity_logits=logits, log_scales=log_scales), [9.0, 8, 1, 0, 0, 0, 0, 0])
    assert result.sources.tolist() == [2, 3, 4, 5, 6, 7, 2]


def test_the_share_and_the_ceiling_bound_growth() -> None:
    grad2d = [float(i + 1) for i in range(8)]
    assert len(resampled(gaussians(8), grad2d, grow_fraction=0.5).sources) == 12
    assert len(resampled(gaussians(8), grad2d, grow_fraction=0.5, max_gaussians=10).sources) == 10
    assert len(resampled(gaussians(8), grad2d, grow_fraction=0.5, max_gaussians=4).sources) == 8


def test_what_was_not_pulled_does_not_grow() -> None:
    assert len(resampled(gaussians(8), [0.0] * 8, grow_fraction=0.5).sources) == 8


def test_equal_seeds_give_equal_sets() -> None:
    raw, grad2d = gaussians(8, size=0.05), [1.0] * 8
    first, second, other = (resampled(raw, grad2d, grow_fraction=1.0, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.means, second.means) and not torch.equal(first.means, other.means)


def test_a_set_that_would_vanish_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one Gaussian must stay"):
        resampled(gaussians(4, opacity=0.001), [1.0] * 4)


def test_reset_forgets_and_makes_room() -> None:
    control = DensityControl(DensityConfig(), 2, CPU)
    control.observe(torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.int32), (4, 4))
    control.reset(5, CPU)
    assert control.grad2d.tolist() == control.counts.tolist() == [0.0] * 5


def test_gaussians_that_no_image_could_show_are_removed() -> None:
    control = DensityControl(DensityConfig(grow_fraction=0.0), 4, torch.device("cpu"))
    control.counts = torch.tensor([3.0, 0.0, 1.0, 0.0])
    sources = control.resampling(gaussians(4), torch.Generator()).sources
    assert sources.tolist() == [0, 2]


def test_what_flies_out_of_the_room_is_left_out_and_the_rest_stays_as_it_is() -> None:
    kept = prune_outliers(gaussians(4), torch.tensor([0.1, 0.76, 0.74, 3.0]))
    assert kept is not None
    assert kept.sources.tolist() == [0, 2] and not kept.fresh.any()
    torch.testing.assert_close(kept.means, gaussians(4).means[[0, 2]])
    assert kept.log_scales.shape == (2, 3)


@pytest.mark.parametrize("reach", [[0.1, 0.74], [0.8, 2.0], [0.1, float("nan")]])
def test_nobody_is_left_out_where_none_strays_or_all_do(reach: list[float]) -> None:
    assert prune_outliers(gaussians(2), torch.tensor(reach)) is None
