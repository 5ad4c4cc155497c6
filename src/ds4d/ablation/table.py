"""The table of an ablation: as json for programs, as Markdown and as a plot for people.

Cases that are scored on different kinds of images stand in tables of their own: a mean over seen and unseen images
says nothing.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ds4d.ablation.comparison import MEASURES, Difference, Mean, cells, difference, mean_of, means_by_case
from ds4d.ablation.results import Result, read_results
from ds4d.ablation.rows import ROWS
from ds4d.io import atomic_path

BASE = "B"
PLOTTED = ("psnr", "psnr_object", "psnr_dynamic")
BY_CASE = "psnr_dynamic"

_FAR = 4  # times as far from 0 as any other row
_DIGITS = {"ssim": 4, "iou": 4, "seconds": 1, "motion_error": 3, "still_flicker": 3}  # others have 2


@dataclass(frozen=True)
class Table:
    """The rows over the cases that are scored on one kind of images.

    Attributes:
        scored_on: which images.
        cases: their names.
        fits: of a row that has every case and seed.
        rows: those present, in the order of the paper.
        base: the row that others are compared with.
        means: by measure and row.
        differences: to the base, by measure and row, the base left out.
        by_case: means over seeds of psnr_dynamic, by case and row; a missing one is left out.
    """

    scored_on: str
    cases: list[str]
    fits: int
    rows: list[str]
    base: str
    means: dict[str, dict[str, Mean]]
    differences: dict[str, dict[str, Difference]]
    by_case: dict[str, dict[str, float]]


def write_tables(folder: Path, base: str | None = None) -> list[Path]:
    """Writes table.json, table.md and, where there is something to compare, table.png of all results in a folder.

    Args:
        folder: of the ablation.
        base: the row that others are compared with; B, or the first row present, if None.

    Returns:
        The files.

    Raises:
        ValueError: the folder holds no results, results that cannot share a table, or none of the base row.
    """
    results = read_results(folder)
    if not results:
        raise ValueError(f"{folder} must hold results of an ablation, got none. Name data folders to fit.")
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
        image.unlink(missing_ok=True)  # that of other results
    return written


def make_tables(results: Sequence[Result], base: str | None = None) -> list[Table]:
    """One table per kind of images that results are scored on.

    Args:
        results: at least one.
        base: the row that others are compared with; B, or the first row present, if None.

    Raises:
        ValueError: there is no result of the base row.
    """
    present = [*(name for name in ROWS if any(result.row == name for result in results))]
    present += sorted({result.row for result in results} - set(present))  # of a version with other rows
    if base is not None and base not in present:
        raise ValueError(f"base must be a row that has results ({', '.join(present)}), got {base!r}.")
    if base is None:
        base = BASE if BASE in present else present[0]
    kinds = dict.fromkeys(result.scored_on for result in sorted(results, key=lambda result: result.case))
    return [_table([r for r in results if r.scored_on == kind], kind, present, base) for kind in kinds]


def plot_differences(tables: Sequence[Table], path: str | Path) -> None:
    """Draws the paired differences in PSNR: a mean with its spread over seeds per row, and a dot per case.

    Args:
        tables: a line of plots each.
        path: of the image; its suffix chooses the format (.png, .svg, .pdf).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4 * len(tables)), layout="constrained")
    axes = figure.subplots(len(tables), len(PLOTTED), squeeze=False)
    for line, table in zip(axes, tables, strict=True):
        names = [row for row in table.rows if row != table.base]
        for axis, measure in zip(line, PLOTTED, strict=True):
            shown = [table.differences[measure][row] for row in names]
            for index, case in enumerate(table.cases):
                dots = [(x, d.by_case[case]) for x, d in enumerate(shown) if case in d.by_case]
                shift = 0.5 * ((index + 0.5) / len(table.cases) - 0.5)
                axis.plot([x + shift for x, _ in dots], [y for _, y in dots], ".", alpha=0.6, label=case)
            spreads = [0.0 if math.isnan(d.spread) else d.spread for d in shown]
            axis.errorbar(range(len(names)), [d.mean for d in shown], spreads, fmt="_k", markersize=14, capsize=4)
            axis.axhline(0, color="gray", linewidth=0.8)
            axis.set_xticks(range(len(names)), names)
            axis.set_xlim(-0.5, len(names) - 0.5)
            axis.set(title=f"{measure}, {table.scored_on}", ylabel=f"difference to {table.base} (dB)")
            axis.grid(alpha=0.3)
            _leave_out_a_far_one(axis, shown)
        line[-1].legend(fontsize="x-small", bbox_to_anchor=(1.02, 1), loc="upper left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _leave_out_a_far_one(axis: Any, shown: Sequence[Difference]) -> None:
    """Where one row lies far from all others, as A does, they would look alike: its mean is written at the edge."""
    reaches = [max(map(abs, (d.mean, *d.by_case.values()))) if d.cases else 0.0 for d in shown]
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
    names = [row for row in present if any(result.row == row for result in results)]
    values = {measure: {row: cells(results, row, measure) for row in names} for measure in MEASURES}
    cases = sorted({result.case for result in results})
    by_row = {row: means_by_case(values[BY_CASE][row]) for row in names}
    return Table(
        scored_on=scored_on,
        cases=cases,
        fits=len(cases) * len({result.seed for result in results}),
        rows=names,
        base=base,
        means={measure: {row: mean_of(values[measure][row]) for row in names} for measure in MEASURES},
        differences={
            measure: {
                row: difference(values[measure][row], values[measure].get(base, {}), measure)
                for row in names
                if row != base
            }
            for measure in MEASURES
        },
        by_case={case: {row: by_row[row][case] for row in names if case in by_row[row]} for case in cases},
    )


def _facts(results: Sequence[Result]) -> dict[str, Any]:
    """What the figures rest on."""
    return {
        "fits": len(results),
        "seeds": sorted({result.seed for result in results}),
        "ds4d": sorted({result.ds4d for result in results}),
        "devices": sorted({result.device for result in results}),
        "side_by_side": sorted({result.side_by_side for result in results}),
        "rows": {name: row.description for name, row in ROWS.items() if any(r.row == name for r in results)},
    }


def _heading(facts: dict[str, Any]) -> Iterator[str]:
    def listed(name: str) -> str:
        return ", ".join(map(str, facts[name]))

    yield "# Ablation"
    yield ""
    yield f"{facts['fits']} fits; seeds {listed('seeds')}; ds4d {listed('ds4d')}; on {'; '.join(facts['devices'])}."
    if facts["side_by_side"] != [1]:
        yield f"Seconds were taken with {listed('side_by_side')} fits side by side."
    yield ""
    for name, description in facts["rows"].items():
        yield f"- {name}: {description}"


def _markdown(table: Table) -> Iterator[str]:
    yield ""
    yield f"## Scored on {table.scored_on}: {len(table.cases)} {'case' if len(table.cases) == 1 else 'cases'}"
    yield ""
    yield "Means over the cases, ± their spread over seeds:"
    yield ""
    measured = [name for name in MEASURES if any(mean.fits for mean in table.means[name].values())]
    lines = [[name, *(_mean_cell(table.means[name][row], _digits(name)) for row in table.rows)] for name in measured]
    fits = [f"{table.means['seconds'][row].fits}/{table.fits}" for row in table.rows]
    yield from _grid(["", *table.rows], [*lines, ["fits", *fits]])
    others = [row for row in table.rows if row != table.base]
    if others:
        yield ""
        yield f"Differences to {table.base} at the same case and seed, ± spread over seeds (cases that are better):"
        yield ""
        yield from _grid(
            ["", *others],
            [
                [name, *(_difference_cell(table.differences[name][row], _digits(name)) for row in others)]
                for name in measured
            ],
        )
    yield ""
    yield f"{BY_CASE} by case:"
    yield ""
    yield from _grid(
        ["", *table.rows],
        [
            [case, *(_number(means.get(row, math.nan), 2) for row in table.rows)]
            for case, means in table.by_case.items()
        ],
    )


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose columns stand in line on a terminal, too."""
    widths = [max(3, *(len(line[column]) for line in (head, *lines))) for column in range(len(head))]
    align: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(head) - 1)]

    def joined(line: Sequence[str]) -> str:
        return "| " + " | ".join(put(cell, width) for put, cell, width in zip(align, line, widths, strict=True)) + " |"

    yield joined(head)
    yield joined(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    yield from map(joined, lines)


def _digits(measure: str) -> int:
    return _DIGITS.get(measure, 2)


def _mean_cell(mean: Mean, digits: int) -> str:
    spread = "" if math.isnan(mean.spread) else f" ±{mean.spread:.{digits}f}"
    return _number(mean.mean, digits) + spread


def _difference_cell(found: Difference, digits: int) -> str:
    if not found.cases:
        return "-"
    spread = "" if math.isnan(found.spread) else f" ±{found.spread:.{digits}f}"
    return f"{found.mean:+.{digits}f}{spread} ({found.better}/{found.cases})"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _finite(value: Any) -> Any:
    """NaN is no json."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
