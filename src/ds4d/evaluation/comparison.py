"""Methods compared on the objects that both were scored on, with bootstrap intervals of the paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ds4d.core import first_difference, to_dict
from ds4d.evaluation.files import cell, grid
from ds4d.evaluation.protocols import ProtocolScores

_COVERAGE = 95.0  # percent


@dataclass(frozen=True)
class Compared:
    """One metric of one method, and its difference from the base method.

    Attributes:
        mean: mean over the method's own objects; NaN if it has none.
        objects: number of these objects.
        failed: number of objects that could not be scored.
        difference: mean of the paired differences from the base, over the units that both have.
        low: lower end of the 95 % bootstrap interval of that mean; NaN with fewer than two units.
        high: upper end.
        units: number of pairs.
        unit: what is paired and drawn: `object`, or `view` where only one object is common.
    """

    mean: float
    objects: int
    failed: int
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    units: int = 0
    unit: str = "object"


def compare_methods(
    methods: Mapping[str, ProtocolScores], *, base: str, samples: int, seed: int
) -> dict[str, dict[str, Compared]]:
    """Every metric of every method against a base, paired by object.

    Objects are drawn with replacement, as views of one object are not independent; views are drawn where only one
    object is common. A failure is in no mean and no pair, and is counted.

    Args:
        methods: scores by the name of the method.
        base: method that the others are compared with.
        samples: number of bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        Metrics in the order of the protocol, each by method.

    Raises:
        ValueError: the methods were scored differently: by protocol, settings, truth or weights.
    """
    for name, scores in methods.items():
        _check_alike(base, methods[base], name, scores)
    found: dict[str, dict[str, Compared]] = {}
    for metric in methods[base].total:
        found[metric] = {
            name: _compared(metric, scores, methods[base], samples, seed) for name, scores in methods.items()
        }
    return found


def bootstrap_interval(differences: Sequence[float], samples: int, seed: int) -> tuple[float, float]:
    """The central 95 % of the means of samples drawn with replacement; NaN for fewer than two values."""
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return math.nan, math.nan
    rows = np.random.default_rng(seed).integers(len(values), size=(samples, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [50 - _COVERAGE / 2, 50 + _COVERAGE / 2])
    return float(low), float(high)


def comparison_table(found: Mapping[str, Mapping[str, Compared]], base: str) -> str:
    """One row per method, one column per metric, as Markdown."""
    metrics = [name for name, by_method in found.items() if any(each.objects for each in by_method.values())]
    names = list(next(iter(found.values())))
    head = ["method", "failed", *metrics]
    rows = []
    for name in names:
        cells = [_value_cell(found[metric][name], metric, is_base=name == base) for metric in metrics]
        rows.append([name, str(found[metrics[0]][name].failed) if metrics else "-", *cells])
    left = [name for name in found if name not in metrics]
    notes = [
        "",
        f"In brackets: mean difference from {base} with the 95 % bootstrap interval of paired differences, and the "
        "number of pairs (v: views of one object).",
    ]
    return "\n".join([*grid(head, rows), *notes, *([f"Computed of no method: {', '.join(left)}."] if left else [])])


def _value_cell(each: Compared, metric: str, *, is_base: bool) -> str:
    text = cell(each.mean, metric)
    if is_base or not each.units:
        return text
    interval = "" if math.isnan(each.low) else f" [{cell(each.low, metric)}, {cell(each.high, metric)}]"
    sign = "+" if each.difference > 0 else ""
    return f"{text} ({sign}{cell(each.difference, metric)}{interval}, {each.units}{'v' * (each.unit == 'view')})"


def _compared(metric: str, scores: ProtocolScores, base: ProtocolScores, samples: int, seed: int) -> Compared:
    unit, pairs = _pairs(metric, scores, base)
    low, high = bootstrap_interval(pairs, samples, seed)
    difference = float(np.mean(pairs)) if pairs else math.nan
    counts = scores.counts.get(metric, 0)
    mean = scores.total.get(metric, math.nan)
    return Compared(mean, counts, len(scores.failed), difference, low, high, len(pairs), unit)


def _pairs(metric: str, scores: ProtocolScores, base: ProtocolScores) -> tuple[str, list[float]]:
    """What is paired, and the differences."""
    ours, theirs = ({each.name: each for each in side.objects if not each.error} for side in (scores, base))
    common = [name for name in ours if name in theirs]
    if len(common) == 1:
        views, others = ours[common[0]].views, theirs[common[0]].views
        found = [_difference(views[view], others[view], metric) for view in views if view in others]
        if len(known := [value for value in found if not math.isnan(value)]) > 1:
            return "view", known
    found = [_difference(ours[name].values, theirs[name].values, metric) for name in common]
    return "object", [value for value in found if not math.isnan(value)]


def _difference(values: Mapping[str, float], others: Mapping[str, float], metric: str) -> float:
    difference = values.get(metric, math.nan) - others.get(metric, math.nan)
    return difference if math.isfinite(difference) else math.nan


def _check_alike(base: str, first: ProtocolScores, name: str, other: ProtocolScores) -> None:
    ours, theirs = (
        {
            "protocol": scores.protocol,
            "layout": scores.layout,
            "config": to_dict(scores.config),
            "objects": sorted(each.name for each in scores.objects),
        }
        for scores in (first, other)
    )
    key = first_difference(ours, theirs)
    shared = first.weights.keys() & other.weights.keys()
    if key is None and any(first.weights[model] != other.weights[model] for model in shared):
        key = "weights"
    if key is not None:
        raise ValueError(
            f"{name} must be scored as {base} was, got another {key}. Run ds4d eval again with the same settings, data "
            "and weights."
        )
