"""The tables of an ablation: as JSON for programs, as Markdown and as a plot for people.

Scenes that are scored on different kinds of images have separate tables: a mean over fitted and held-out images would
mean nothing.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ds4d.ablation.comparison import Difference, Mean, difference, entries, mean_of, means_by_scene, measures_of
from ds4d.ablation.results import Result, read_results
from ds4d.ablation.variants import CANDIDATES, VARIANTS
from ds4d.evaluation import PROTOCOL_METRICS
from ds4d.io import atomic_path

BASE = "B"
PLOTTED = ("psnr", "psnr_object", "psnr_dynamic")
BY_SCENE = "psnr_dynamic"

_KNOWN = {**VARIANTS, **CANDIDATES}
_FAR = 4  # a variant this many times as far from 0 as any other does not set the plot's range
_DIGITS = {"ssim": 4, "iou": 4, "seconds": 1, "motion_error": 3, "still_flicker": 3}  # others have 2


@dataclass(frozen=True)
class Table:
    """The variants over the scenes that are scored on one kind of images.

    Attributes:
        scored_on: kind of images.
        scenes: names of the scenes.
        fits: number of fits of a variant that has every scene and seed.
        variants: names of the variants that have results, in the order of `VARIANTS`.
        base: variant that the others are compared with.
        means: means by measure and variant.
        differences: differences from the base by measure and variant, without the base.
        by_scene: means over seeds of psnr_dynamic by scene and variant; missing ones are left out.
    """

    scored_on: str
    scenes: list[str]
    fits: int
    variants: list[str]
    base: str
    means: dict[str, dict[str, Mean]]
    differences: dict[str, dict[str, Difference]]
    by_scene: dict[str, dict[str, float]]


def write_tables(folder: Path, base: str | None = None) -> list[Path]:
    """Writes table.json, table.md and, if there are variants to compare, table.png of all results in a folder.

    Args:
        folder: folder of the ablation.
        base: variant that the others are compared with; None takes B, or the first variant that has results.

    Returns:
        The written files.

    Raises:
        ValueError: the folder holds no results, results that cannot be compared, or none of the base variant.
    """
    results = read_results(folder)
    if not results:
        raise ValueError(f"{folder} must hold results of an ablation, got none. Give data folders to fit.")
    tables = make_tables(results, base)
    facts = _facts(results)
    content = {"base": tables[0].base, **facts, "tables": [_finite(asdict(table)) for table in tables]}
    _write(folder / "table.json", json.dumps(content, indent=1, allow_nan=False))
    _write(folder / "table.md", "\n".join([*_heading(facts), *(line for table in tables for line in _markdown(table))]))
    written = [folder / "table.json", folder / "table.md"]
    image = folder / "table.png"
    if any(table.differences[measure] for table in tables for measure in PLOTTED):
        plot_differences(tables, image)
        written.append(image)
    else:
        image.unlink(missing_ok=True)  # it would show other results
    return written


def make_tables(results: Sequence[Result], base: str | None = None) -> list[Table]:
    """One table per kind of images that results are scored on.

    Args:
        results: results of fits, at least one.
        base: variant that the others are compared with; None takes B, or the first variant that has results.

    Raises:
        ValueError: there is no result of the base variant.
    """
    present = [*(name for name in _KNOWN if any(result.variant == name for result in results))]
    present += sorted({result.variant for result in results} - set(present))  # from a version with other variants
    if base is not None and base not in present:
        raise ValueError(f"--base must be a variant with results ({', '.join(present)}), got {base!r}. Choose one.")
    if base is None:
        base = BASE if BASE in present else present[0]
    kinds = dict.fromkeys(result.scored_on for result in sorted(results, key=lambda result: result.scene))
    return [_table([r for r in results if r.scored_on == kind], kind, present, base) for kind in kinds]


def plot_differences(tables: Sequence[Table], path: str | Path) -> None:
    """Plots the paired differences in PSNR: mean and spread over seeds of each variant, and a dot for each scene.

    Args:
        tables: tables to plot, a row of plots each.
        path: path of the image; its suffix chooses the format (.png, .svg, .pdf).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4 * len(tables)), layout="constrained")
    axes = figure.subplots(len(tables), len(PLOTTED), squeeze=False)
    for line, table in zip(axes, tables, strict=True):
        names = [variant for variant in table.variants if variant != table.base]
        for axis, measure in zip(line, PLOTTED, strict=True):
            shown = [table.differences[measure][variant] for variant in names]
            for index, scene in enumerate(table.scenes):
                dots = [(x, d.by_scene[scene]) for x, d in enumerate(shown) if scene in d.by_scene]
                shift = 0.5 * ((index + 0.5) / len(table.scenes) - 0.5)
                axis.plot([x + shift for x, _ in dots], [y for _, y in dots], ".", alpha=0.6, label=scene)
            spreads = [0.0 if math.isnan(d.spread) else d.spread for d in shown]
            axis.errorbar(range(len(names)), [d.mean for d in shown], spreads, fmt="_k", markersize=14, capsize=4)
            axis.axhline(0, color="gray", linewidth=0.8)
            axis.set_xticks(range(len(names)), names)
            axis.set_xlim(-0.5, len(names) - 0.5)
            axis.set(title=f"{measure}, {table.scored_on}", ylabel=f"difference from {table.base} (dB)")
            axis.grid(alpha=0.3)
            _clip_outlier(axis, shown)
        line[-1].legend(fontsize="x-small", bbox_to_anchor=(1.02, 1), loc="upper left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _clip_outlier(axis: Any, shown: Sequence[Difference]) -> None:
    """If one variant is far from all others, as A is, its mean is written at the edge, so that the others differ."""
    reaches = [max(map(abs, (d.mean, *d.by_scene.values()))) if d.scenes else 0.0 for d in shown]
    *_, second, first = sorted([0.0, 0.0, *reaches])
    if first <= _FAR * second or not second:
        return
    far = reaches.index(first)
    limit = 1.2 * max(
        r + (0.0 if math.isnan(d.spread) else d.spread) for r, d in zip(reaches, shown, strict=True) if r < first
    )
    axis.set_ylim(-limit, limit)
    edge = math.copysign(0.9 * limit, shown[far].mean)
    axis.text(far, edge, f"{shown[far].mean:+.1f}", ha="center", va="center")


def _table(results: Sequence[Result], scored_on: str, present: Sequence[str], base: str) -> Table:
    names = [variant for variant in present if any(result.variant == variant for result in results)]
    measures = measures_of(results)
    values = {measure: {variant: entries(results, variant, measure) for variant in names} for measure in measures}
    scenes = sorted({result.scene for result in results})
    by_variant = {variant: means_by_scene(values[BY_SCENE][variant]) for variant in names}
    return Table(
        scored_on=scored_on,
        scenes=scenes,
        fits=len(scenes) * len({result.seed for result in results}),
        variants=names,
        base=base,
        means={measure: {variant: mean_of(values[measure][variant]) for variant in names} for measure in measures},
        differences={
            measure: {
                variant: difference(values[measure][variant], values[measure].get(base, {}), measure)
                for variant in names
                if variant != base
            }
            for measure in measures
        },
        by_scene={
            scene: {variant: by_variant[variant][scene] for variant in names if scene in by_variant[variant]}
            for scene in scenes
        },
    )


def _facts(results: Sequence[Result]) -> dict[str, Any]:
    """What all fits share."""
    return {
        "fits": len(results),
        "seeds": sorted({result.seed for result in results}),
        "ds4d": sorted({result.ds4d for result in results}),
        "devices": sorted({result.device for result in results}),
        "side_by_side": sorted({result.side_by_side for result in results}),
        "not_computed": {name: why for result in results for name, why in sorted(result.not_computed.items())},
        "variants": {
            name: variant.description
            for name, variant in _KNOWN.items()
            if any(result.variant == name for result in results)
        },
    }


def _heading(facts: dict[str, Any]) -> Iterator[str]:
    def listed(name: str) -> str:
        return ", ".join(map(str, facts[name]))

    yield "# Ablation"
    yield ""
    yield f"{facts['fits']} fits; seeds {listed('seeds')}; ds4d {listed('ds4d')}; on {'; '.join(facts['devices'])}."
    if facts["side_by_side"] != [1]:
        yield f"Seconds were measured with {listed('side_by_side')} fits at the same time."
    yield ""
    for name, description in facts["variants"].items():
        yield f"- {name}: {description}"
    if facts["not_computed"]:
        yield ""
        yield "Not computed, for some fits or all:"
        yield ""
        for name, why in facts["not_computed"].items():
            yield f"- {name}: {why}"


def _markdown(table: Table) -> Iterator[str]:
    yield ""
    yield f"## Scored on {table.scored_on}: {len(table.scenes)} {'scene' if len(table.scenes) == 1 else 'scenes'}"
    yield ""
    yield "Means over the scenes, ± their spread over seeds:"
    yield ""
    measured = [name for name in table.means if any(mean.fits for mean in table.means[name].values())]
    lines = [
        [name, *(_mean_cell(table.means[name][variant], _digits(name)) for variant in table.variants)]
        for name in measured
    ]
    fits = [f"{table.means['seconds'][variant].fits}/{table.fits}" for variant in table.variants]
    yield from _grid(["", *table.variants], [*lines, ["fits", *fits]])
    others = [variant for variant in table.variants if variant != table.base]
    if others:
        yield ""
        yield (
            f"Differences from {table.base} at the same scene and seed, ± spread over seeds (number of scenes that are "
            "better):"
        )
        yield ""
        yield from _grid(
            ["", *others],
            [
                [name, *(_difference_cell(table.differences[name][variant], _digits(name)) for variant in others)]
                for name in measured
            ],
        )
    yield ""
    yield f"{BY_SCENE} by scene:"
    yield ""
    yield from _grid(
        ["", *table.variants],
        [
            [scene, *(_number(means.get(variant, math.nan), 2) for variant in table.variants)]
            for scene, means in table.by_scene.items()
        ],
    )


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose columns are aligned on a terminal, too."""
    widths = [max(3, *(len(line[column]) for line in (head, *lines))) for column in range(len(head))]
    align: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(head) - 1)]

    def joined(line: Sequence[str]) -> str:
        return "| " + " | ".join(put(cell, width) for put, cell, width in zip(align, line, widths, strict=True)) + " |"

    yield joined(head)
    yield joined(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    yield from map(joined, lines)


def _digits(measure: str) -> int:
    further = measure in PROTOCOL_METRICS and not PROTOCOL_METRICS[measure].unit
    return _DIGITS.get(measure, 4 if further else 2)


def _mean_cell(mean: Mean, digits: int) -> str:
    spread = "" if math.isnan(mean.spread) else f" ±{mean.spread:.{digits}f}"
    return _number(mean.mean, digits) + spread


def _difference_cell(found: Difference, digits: int) -> str:
    if not found.scenes:
        return "-"
    spread = "" if math.isnan(found.spread) else f" ±{found.spread:.{digits}f}"
    return f"{found.mean:+.{digits}f}{spread} ({found.better}/{found.scenes})"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _finite(value: Any) -> Any:
    """The value with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
