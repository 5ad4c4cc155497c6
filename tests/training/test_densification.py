"""Densification by known values: accumulated gradients, clone, split, prune."""

import math
from dataclasses import replace

import pytest
import torch

from ds4d.scene import DynamicGaussians, Resampling, Timeline
from ds4d.training import Densification, DensificationConfig, prune_outliers
from ds4d.training.densification import isolated_gaussians
from ds4d.types import Gaussians, RawGaussians, Similarity

CPU = torch.device("cpu")


def gaussians(count: int, *, size: float = 0.005, opacity: float = 0.5) -> RawGaussians:
    """Equal Gaussians in a row, one unit apart."""
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


def densified(raw: RawGaussians, grad2d: list[float], *, seed: int = 0, **config: float) -> Resampling:
    """One event after each Gaussian was visible once, with these gradients."""
    densification = Densification(DensificationConfig(**{"grow_fraction": 0.25, **config}), raw.num_gaussians, CPU)
    densification.grad2d, densification.count = torch.tensor(grad2d), torch.ones(raw.num_gaussians)
    return densification.densify_and_prune(raw, torch.Generator().manual_seed(seed))


def test_event_schedule() -> None:
    densification = Densification(DensificationConfig(every=10, start=0.2, stop=0.5), 1, CPU)
    assert [step for step in range(1, 101) if densification.is_due(step, 100)] == [20, 30, 40, 50]


def test_gradients_are_scaled_to_half_images_where_visible() -> None:
    densification = Densification(DensificationConfig(), 3, CPU)
    gradients = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [5.0, 5.0]]])
    radii = torch.tensor([[[2, 2], [1, 1], [0, 0]]])
    densification.accumulate(gradients, radii, (20, 8))
    assert densification.grad2d.tolist() == [30, 4, 0]
    assert densification.count.tolist() == [1, 1, 0]


def test_gradients_accumulate_over_times_and_views(generator: torch.Generator) -> None:
    gradients = torch.randn(2, 3, 5, 2, generator=generator)
    radii = torch.randint(0, 3, (2, 3, 5, 2), generator=generator)
    together, apart = (Densification(DensificationConfig(), 5, CPU) for _ in range(2))
    together.accumulate(gradients, radii, (20, 8))
    for one_gradients, one_radii in zip(gradients.flatten(0, 1), radii.flatten(0, 1), strict=True):
        apart.accumulate(one_gradients[None], one_radii[None], (20, 8))
    torch.testing.assert_close(together.grad2d, apart.grad2d)
    assert torch.equal(together.count, apart.count)


def test_small_gaussians_with_large_gradients_are_cloned() -> None:
    raw = gaussians(8)
    result = densified(raw, [0.0, 5, 0.1, 9, 0.2, 0, 0, 0])
    assert result.sources.tolist() == [*range(8), 3, 1]
    assert result.is_new.tolist() == [False] * 8 + [True] * 2
    assert torch.equal(result.means, raw.means[result.sources])
    assert torch.equal(result.log_scales, raw.log_scales[result.sources])


def test_gradient_is_the_mean_over_visible_views() -> None:
    densification = Densification(DensificationConfig(grow_fraction=0.25), 4, CPU)
    densification.grad2d, densification.count = torch.tensor([10.0, 8, 0, 0]), torch.tensor([10.0, 2, 1, 1])
    assert densification.densify_and_prune(gaussians(4), torch.Generator()).sources.tolist() == [0, 1, 2, 3, 1]


def test_factors_change_what_grows_and_nothing_else() -> None:
    densification = Densification(DensificationConfig(grow_fraction=0.25), 4, CPU)
    densification.grad2d, densification.count = torch.tensor([4.0, 3, 0, 2]), torch.ones(4)
    factors = torch.tensor([1.0, 1, 5, 3])
    grown = densification.densify_and_prune(gaussians(4), torch.Generator(), factors=factors)
    assert grown.sources.tolist() == [0, 1, 2, 3, 3]
    fixed = densification.densify_and_prune(gaussians(4), torch.Generator(), 1, 5 - factors)
    assert fixed.sources.tolist() == [0, 1, 2, 3]  # a quarter of three is none


def test_large_gaussians_are_split() -> None:
    raw = gaussians(4, size=0.05)
    result = densified(raw, [0.0, 0, 1, 0])
    assert result.sources.tolist() == [0, 1, 3, 2, 2]
    assert result.is_new.tolist() == [False] * 3 + [True] * 2
    torch.testing.assert_close(result.log_scales[3:].exp(), torch.full((2, 3), 0.05 / 1.6))
    assert torch.equal(result.means[:3], raw.means[[0, 1, 3]])


def test_split_positions_follow_the_gaussian() -> None:
    """A flat disc rotated to face x is sampled along y and z only."""
    raw = gaussians(4000, size=0.05)
    flat = raw.log_scales.clone()
    flat[:, 2] = math.log(1e-4)
    rotation_about_y = torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5), 0])  # z becomes x
    raw = replace(raw, log_scales=flat, quats=rotation_about_y.expand(4000, 4))
    result = densified(raw, [1.0] * 4000, grow_fraction=1.0, max_gaussians=100_000)
    offsets = result.means - raw.means[result.sources]
    spread = offsets.square().mean(0).sqrt()
    # 8000 samples give a standard deviation to 1 %.
    torch.testing.assert_close(spread[1:], torch.full((2,), 0.05), rtol=0.04, atol=0)
    assert spread[0] < 1e-3  # rounding of means near 4000 adds to the 1e-4


def test_transparent_and_large_gaussians_are_pruned() -> None:
    raw = gaussians(8)
    logits, log_scales = raw.opacity_logits.clone(), raw.log_scales.clone()
    logits[0] = -6.0
    log_scales[1, 2] = math.log(0.2)
    result = densified(replace(raw, opacity_logits=logits, log_scales=log_scales), [9.0, 8, 1, 0, 0, 0, 0, 0])
    assert result.sources.tolist() == [2, 3, 4, 5, 6, 7, 2]


def test_growth_is_limited_by_fraction_and_maximum() -> None:
    grad2d = [float(i + 1) for i in range(8)]
    assert len(densified(gaussians(8), grad2d, grow_fraction=0.5).sources) == 12
    assert len(densified(gaussians(8), grad2d, grow_fraction=0.5, max_gaussians=10).sources) == 10
    assert len(densified(gaussians(8), grad2d, grow_fraction=0.5, max_gaussians=4).sources) == 8


def test_gaussians_without_gradient_do_not_grow() -> None:
    assert len(densified(gaussians(8), [0.0] * 8, grow_fraction=0.5).sources) == 8


def test_equal_seeds_give_equal_results() -> None:
    raw, grad2d = gaussians(8, size=0.05), [1.0] * 8
    first, second, other = (densified(raw, grad2d, grow_fraction=1.0, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.means, second.means) and not torch.equal(first.means, other.means)


def test_pruning_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one Gaussian"):
        densified(gaussians(4, opacity=0.001), [1.0] * 4)


def test_reset() -> None:
    densification = Densification(DensificationConfig(), 2, CPU)
    densification.accumulate(torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.int32), (4, 4))
    densification.reset(5, CPU)
    assert densification.grad2d.tolist() == densification.count.tolist() == [0.0] * 5


def test_gaussians_outside_all_images_are_pruned() -> None:
    densification = Densification(DensificationConfig(grow_fraction=0.0), 4, torch.device("cpu"))
    densification.count = torch.tensor([3.0, 0.0, 1.0, 0.0])
    sources = densification.densify_and_prune(gaussians(4), torch.Generator()).sources
    assert sources.tolist() == [0, 2]


def test_outliers_are_pruned() -> None:
    pruned = prune_outliers(gaussians(4), torch.tensor([0.1, 0.76, 0.74, 3.0]))
    assert pruned is not None
    assert pruned.sources.tolist() == [0, 2] and not pruned.is_new.any()
    torch.testing.assert_close(pruned.means, gaussians(4).means[[0, 2]])
    assert pruned.log_scales.shape == (2, 3)


@pytest.mark.parametrize("reach", [[0.1, 0.74], [0.8, 2.0], [0.1, float("nan")]])
def test_no_outliers_are_pruned_where_there_are_none_or_all_are(reach: list[float]) -> None:
    assert prune_outliers(gaussians(2), torch.tensor(reach)) is None


def test_fixed_gaussians_stay_whatever_they_are() -> None:
    """Transparent, too large, never seen, far away or with the largest gradients; new ones follow them."""
    raw = gaussians(8)
    raw.opacity_logits[0], raw.log_scales[1], raw.means[2] = -9.0, 0.0, 5.0
    densification = Densification(DensificationConfig(grow_fraction=0.5), 8, CPU)
    densification.grad2d, densification.count = torch.tensor([9.0] * 4 + [1.0, 2.0, 3.0, 4.0]), torch.ones(8)
    densification.count[3] = 0
    resampling = densification.densify_and_prune(raw, torch.Generator(), 4)
    assert resampling.sources.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7, 6]
    pruned = prune_outliers(raw, torch.tensor([0.1, 0.1, 5.0, 0.1, 0.1, 0.1, 5.0, 0.1]), 4)
    assert pruned is not None and pruned.sources.tolist() == [0, 1, 2, 3, 4, 5, 7]


class Wandering(DynamicGaussians):
    """A row of Gaussians, of which the last is eight units away in some frames (None: and has faded), or in the row."""

    def __init__(self, raw: RawGaussians, frames: tuple[bool | None, ...]) -> None:
        times = tuple(number / (len(frames) - 1) for number in range(len(frames)))
        world = Similarity(1.0, torch.eye(3), torch.zeros(3))
        super().__init__(raw, None, Timeline(times, 1.0, False), world)
        self.is_away = dict(zip(times, frames, strict=True))

    def at(self, times: torch.Tensor) -> Gaussians:
        found = super().at(times)
        means = found.means.clone()
        nearest = min(self.is_away, key=lambda time: abs(time - float(times)))
        is_away, opacities = self.is_away[nearest], found.opacities.clone()
        means[0, -1] = torch.tensor([4.0, 0.1 if is_away is False else 8.0, 0.0])
        opacities[0, -1] *= is_away is not None
        return replace(found, means=means, opacities=opacities)


@pytest.mark.parametrize(
    ("away", "size", "found"),
    [
        ((True, True, False, False), 0.005, [20]),
        ((True, False, False, False), 0.005, []),
        ((True, True, True, True), 0.005, [20]),
        ((True, True, True, True), 4.0, []),  # as long as it is far
        ((True, None, None, None, False), 0.005, [20]),
        ((True, None, None, False, False), 0.005, []),
        ((None, None, None, None), 0.005, [20]),  # shown by none
    ],
)
def test_gaussians_that_hang_in_the_air_in_most_frames_are_pruned(
    away: tuple[bool | None, ...], size: float, found: list[int]
) -> None:
    raw = gaussians(21)
    raw.log_scales[-1] = math.log(size)
    raw.means[:, 0] *= 0.4
    isolated = isolated_gaussians(Wandering(raw, away))
    assert isolated.nonzero().flatten().tolist() == found
    pruned = prune_outliers(raw, torch.zeros(21), 0, isolated)
    assert (pruned is None) == (not found)
    assert pruned is None or pruned.sources.tolist() == list(range(20))
