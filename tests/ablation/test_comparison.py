"""Means, spreads and paired differences against numbers computed by hand."""

import math

import pytest

from ds4d.ablation.comparison import difference, entries, mean_of, means_by_scene, measures_of
from ds4d.ablation.results import Result


def result(variant: str, scene: str, seed: int, **metrics: float) -> Result:
    memory = {"main": 3_000_000_000, "gpu": 500_000_000}
    seconds = metrics.pop("seconds", 1.0)
    return Result(scene, "held-out views", variant, seed, {}, metrics, seconds, 10, memory)


def test_entries_skip_missing_values() -> None:
    results = [
        result("A", "fox", 0, psnr=20.0, seconds=2.5),
        result("A", "fox", 1, psnr=math.nan),
        result("A", "frog", 0),
        result("B", "fox", 0, psnr=9.0),
    ]
    assert entries(results, "A", "psnr") == {("fox", 0): 20.0}
    assert entries(results, "A", "seconds") == {("fox", 0): 2.5, ("fox", 1): 1.0, ("frog", 0): 1.0}
    assert entries(results, "A", "gpu_memory_gb") == {("fox", 0): 0.5, ("fox", 1): 0.5, ("frog", 0): 0.5}
    assert entries(results, "A", "main_memory_gb")["fox", 0] == 3.0
    assert entries(results, "C", "psnr") == {}


def test_mean_and_spread() -> None:
    """Seeds by scenes: 20, 30 / 22, 30 / 24, 36. Means over the scenes 25, 26, 30: their deviations are -2, -1, 3."""
    values = {("a", 0): 20.0, ("b", 0): 30.0, ("a", 1): 22.0, ("b", 1): 30.0, ("a", 2): 24.0, ("b", 2): 36.0}
    found = mean_of(values)
    assert means_by_scene(values) == {"a": 22.0, "b": 32.0}
    assert found.mean == pytest.approx(27.0)
    assert found.spread == pytest.approx(math.sqrt(14 / 2))
    assert found.fits == 6


def test_scenes_count_equally_whatever_their_seeds() -> None:
    """Scene a has two seeds, b one: (21 + 30) / 2, not (20 + 22 + 30) / 3."""
    values = {("a", 0): 20.0, ("a", 1): 22.0, ("b", 0): 30.0}
    assert mean_of(values).mean == pytest.approx(25.5)


def test_the_spread_skips_seeds_without_every_scene() -> None:
    """Seed 2 has scene a alone; seeds 0 and 1 have means 25 and 26."""
    values = {("a", 0): 20.0, ("b", 0): 30.0, ("a", 1): 22.0, ("b", 1): 30.0, ("a", 2): 90.0}
    assert mean_of(values).spread == pytest.approx(math.sqrt(0.5))
    assert math.isnan(mean_of({("a", 0): 20.0, ("b", 1): 30.0}).spread)
    assert math.isnan(mean_of({("a", 0): 20.0}).spread)


def test_differences_are_paired_by_scene_and_seed() -> None:
    """Scenes differ by 20 dB, variants by little: a 1 and 2 (seeds 0, 1), b -1 and 0.5; c, d, seed 2 have no pair."""
    base = {("a", 0): 20.0, ("a", 1): 21.0, ("b", 0): 40.0, ("b", 1): 41.0, ("c", 0): 5.0}
    values = {("a", 0): 21.0, ("a", 1): 23.0, ("b", 0): 39.0, ("b", 1): 41.5, ("a", 2): 99.0, ("d", 0): 99.0}
    found = difference(values, base, "psnr")
    assert found.by_scene == {"a": pytest.approx(1.5), "b": pytest.approx(-0.25)}
    assert found.mean == pytest.approx(0.625)
    # Means over the scenes: seed 0 (1 - 1) / 2 = 0, seed 1 (2 + 0.5) / 2 = 1.25; half their distance times root 2.
    assert found.spread == pytest.approx(0.625 * math.sqrt(2))
    assert (found.better, found.scenes) == (1, 2)


def test_the_measure_decides_whether_less_is_better() -> None:
    base, values = {("a", 0): 3.0, ("b", 0): 3.0, ("c", 0): 3.0}, {("a", 0): 2.0, ("b", 0): 4.0, ("c", 0): 3.0}
    for measure in ("psnr", "ssim", "iou", "input_psnr", "motion_error", "still_flicker", "seconds", "gpu_memory_gb"):
        found = difference(values, base, measure)
        assert (found.better, found.scenes) == (1, 3)  # equal is not better
        assert found.mean == pytest.approx(0.0)
    assert difference({("a", 0): 2.0}, base, "motion_error").better == 1
    assert difference({("a", 0): 2.0}, base, "psnr").better == 0


def test_without_a_pair_there_is_no_difference() -> None:
    found = difference({("a", 0): 1.0}, {("a", 1): 1.0, ("b", 0): 2.0}, "psnr")
    assert math.isnan(found.mean) and math.isnan(found.spread)
    assert (found.better, found.scenes, found.by_scene) == (0, 0, {})


def test_better_is_what_the_registry_says() -> None:
    """Of a ratio, what is nearer to 1; of a distance, what is lower."""
    values, base = {("a", 0): 1.2, ("b", 0): 0.5}, {("a", 0): 0.7, ("b", 0): 1.4}
    assert difference(values, base, "detail_ratio").better == 1
    assert difference(values, base, "lpips").better == 1
    assert difference(base, values, "psnr_target_range").better == 1
    assert difference({("a", 0): 0.5}, {("a", 0): 1.4}, "detail_ratio").better == 0


def test_further_metrics_follow_those_of_every_fit() -> None:
    found = measures_of([result("A", "fox", 0, psnr=1.0, detail_ratio=0.9), result("A", "fox", 1, lpips=0.1)])
    assert [name for name in found if name not in measures_of([])] == ["lpips", "detail_ratio"]
    assert found.index("lpips") < found.index("input_psnr")
