"""Statistics of an ablation: means of each variant, their spread over seeds, and paired differences.

A missing result never counts as 0. Where it would bias a comparison, its scene or seed is left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ds4d.ablation.results import Result
from ds4d.evaluation import PROTOCOL_METRICS
from ds4d.metrics import METRICS

GIGABYTE = 1e9
# Everything that is measured of every fit, and those of it of which less is better.
MEASURES = (*METRICS, "input_psnr", "seconds", "main_memory_gb", "gpu_memory_gb")
LOWER_IS_BETTER = frozenset({"motion_error", "still_flicker", "seconds", "main_memory_gb", "gpu_memory_gb"})
_BEST = {"higher": math.inf, "lower": -math.inf, "one": 1.0}

Entries = Mapping[tuple[str, int], float]  # by scene and seed; what could not be measured is left out


@dataclass(frozen=True)
class Mean:
    """One measure of one variant.

    Attributes:
        mean: mean over the scenes of the means over seeds; NaN if nothing was measured.
        spread: standard deviation (n - 1) over seeds of the means over scenes; only seeds with every scene count, and
            with fewer than two of them it is NaN.
        fits: number of fits that were measured.
    """

    mean: float
    spread: float
    fits: int


@dataclass(frozen=True)
class Difference:
    """One measure of a variant minus that of the base variant, over the scenes and seeds that both have.

    Attributes:
        mean: mean over the scenes of the means over seeds; NaN without a common scene and seed.
        spread: spread over seeds, as in `Mean`.
        better: number of scenes where the variant is better than the base.
        scenes: number of scenes that both have.
        by_scene: means over seeds by scene.
    """

    mean: float
    spread: float
    better: int
    scenes: int
    by_scene: dict[str, float]


def measures_of(results: Sequence[Result]) -> tuple[str, ...]:
    """`MEASURES`, and after those of images the further metrics that results have, in the order of the registry."""
    found = {name for result in results for name in (*result.metrics, *result.not_computed)}
    further = [name for name in PROTOCOL_METRICS if name in found and name not in MEASURES]
    return (*METRICS, *further, *MEASURES[len(METRICS) :])


def entries(results: Sequence[Result], variant: str, measure: str) -> Entries:
    """One measure of one variant by scene and seed."""
    found = {(result.scene, result.seed): _value(result, measure) for result in results if result.variant == variant}
    return {key: value for key, value in found.items() if not math.isnan(value)}


def means_by_scene(values: Entries) -> dict[str, float]:
    """Mean over seeds of each scene, sorted by name."""
    return {scene: fmean(v for (name, _), v in values.items() if name == scene) for scene in _scenes(values)}


def mean_of(values: Entries) -> Mean:
    """Mean and spread of one measure of one variant."""
    return Mean(_mean(means_by_scene(values)), _spread(values), len(values))


def difference(values: Entries, base: Entries, measure: str) -> Difference:
    """A variant against the base variant, paired by scene and seed.

    Args:
        values: entries of the variant.
        base: entries of the base variant.
        measure: name of the measure, which decides what is better.
    """
    pairs = {key: values[key] - base[key] for key in values if key in base}
    by_scene = means_by_scene(pairs)
    ours = means_by_scene({key: values[key] for key in pairs})
    theirs = means_by_scene({key: base[key] for key in pairs})
    better = sum(_is_better(ours[scene], theirs[scene], measure) for scene in by_scene)
    return Difference(_mean(by_scene), _spread(pairs), better, len(by_scene), by_scene)


def _is_better(value: float, base: float, measure: str) -> bool:
    best = _BEST["lower" if measure in LOWER_IS_BETTER else "higher"]
    if measure in PROTOCOL_METRICS:
        best = _BEST[PROTOCOL_METRICS[measure].better]
    return (value - base) * best > 0 if math.isinf(best) else abs(value - best) < abs(base - best)


def _value(result: Result, measure: str) -> float:
    if measure == "seconds":
        return result.seconds
    if measure.endswith("_memory_gb"):
        return result.peak_memory_bytes.get(measure.removesuffix("_memory_gb"), math.nan) / GIGABYTE
    return result.metrics.get(measure, math.nan)


def _scenes(values: Entries) -> list[str]:
    return sorted({scene for scene, _ in values})


def _mean(by_scene: Mapping[str, float]) -> float:
    return fmean(by_scene.values()) if by_scene else math.nan


def _spread(values: Entries) -> float:
    """A seed that lacks a scene would show how the scenes differ, not how the seeds do."""
    scenes = _scenes(values)
    seeds = {seed for _, seed in values}
    complete = [
        fmean(values[scene, seed] for scene in scenes)
        for seed in sorted(seeds)
        if all((scene, seed) in values for scene in scenes)
    ]
    return stdev(complete) if len(complete) > 1 else math.nan
