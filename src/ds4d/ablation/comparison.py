"""What the rows of an ablation come to: means, their spread over seeds, and paired differences.

A missing result is missing: it is never counted as 0, and where it would tilt a comparison, what it belongs to is left
out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ds4d.ablation.results import Result
from ds4d.metrics import METRICS

GIGABYTE = 1e9
# Every figure of a fit, and those of them of which less is better.
MEASURES = (*METRICS, "input_psnr", "seconds", "main_memory_gb", "gpu_memory_gb")
LOWER_IS_BETTER = frozenset({"motion_error", "still_flicker", "seconds", "main_memory_gb", "gpu_memory_gb"})

Cells = Mapping[tuple[str, int], float]  # by case and seed; what could not be measured is left out


@dataclass(frozen=True)
class Mean:
    """A figure of one row.

    Attributes:
        mean: over the cases of the means over seeds; NaN where nothing was measured.
        spread: over seeds, the standard deviation (n - 1) of the means over cases; only seeds that have every case
            count, and with fewer than two of them it is NaN.
        fits: how many were measured.
    """

    mean: float
    spread: float
    fits: int


@dataclass(frozen=True)
class Difference:
    """A figure of one row minus that of the base row, over the cases and seeds that both have.

    Attributes:
        mean: over the cases of the means over seeds; NaN without a common case and seed.
        spread: over seeds, as in `Mean`.
        better: cases where the row is better than the base.
        cases: that both have.
        by_case: means over seeds.
    """

    mean: float
    spread: float
    better: int
    cases: int
    by_case: dict[str, float]


def cells(results: Sequence[Result], row: str, measure: str) -> Cells:
    """One figure of one row, by case and seed."""
    found = {(result.case, result.seed): _figure(result, measure) for result in results if result.row == row}
    return {key: value for key, value in found.items() if not math.isnan(value)}


def means_by_case(values: Cells) -> dict[str, float]:
    """Mean over seeds of each case, in the order of the names."""
    return {case: fmean(v for (name, _), v in values.items() if name == case) for case in _cases(values)}


def mean_of(values: Cells) -> Mean:
    """The figure of a row."""
    return Mean(_mean(means_by_case(values)), _spread(values), len(values))


def difference(values: Cells, base: Cells, measure: str) -> Difference:
    """A row against the base row, case by case and seed by seed.

    Args:
        values: of the row.
        base: of the base row.
        measure: says whether more or less is better.
    """
    pairs = {key: values[key] - base[key] for key in values if key in base}
    by_case = means_by_case(pairs)
    sign = -1 if measure in LOWER_IS_BETTER else 1
    better = sum(sign * value > 0 for value in by_case.values())
    return Difference(_mean(by_case), _spread(pairs), better, len(by_case), by_case)


def _figure(result: Result, measure: str) -> float:
    if measure == "seconds":
        return result.seconds
    if measure.endswith("_memory_gb"):
        return result.peak_memory_bytes.get(measure.removesuffix("_memory_gb"), math.nan) / GIGABYTE
    return result.metrics.get(measure, math.nan)


def _cases(values: Cells) -> list[str]:
    return sorted({case for case, _ in values})


def _mean(by_case: Mapping[str, float]) -> float:
    return fmean(by_case.values()) if by_case else math.nan


def _spread(values: Cells) -> float:
    """A seed that lacks a case would show how the cases differ, not how the seeds do."""
    cases = _cases(values)
    seeds = {seed for _, seed in values}
    complete = [
        fmean(values[case, seed] for case in cases)
        for seed in sorted(seeds)
        if all((case, seed) in values for case in cases)
    ]
    return stdev(complete) if len(complete) > 1 else math.nan
