"""HTML tables; all text is escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ds4d.runs.records import EvaluationRecord


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """A table of text; the first cell of each row is its name."""
    above = f"<thead><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return f'<div class="wide"><table>{above}<tbody>{body}</tbody></table></div>'


def flatten(nested: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as dotted names and values."""
    for key, value in nested.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        else:
            yield name, "none" if value is None else str(value)


def duration(seconds: float) -> str:
    """Seconds in readable units."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def decibels(value: float | None) -> str:
    """A PSNR in dB, or a dash if it was not measured."""
    return "-" if value is None else f"{value:.1f} dB"


def gibibytes(count: int) -> str:
    """A number of bytes in GiB."""
    return f"{count / 2**30:.2f} GiB"


def score_rows(evaluation: EvaluationRecord) -> list[list[str]]:
    """The scores of `ds4d eval`: a row of names, a row for each view, and a row for their mean."""
    total, views = evaluation.total, evaluation.views
    rows = {**views, f"mean of {len(views)} views": total}
    cells = [["-" if scores[name] is None else f"{scores[name]:.3f}" for name in total] for scores in rows.values()]
    return [["view", *total], *([name, *row] for name, row in zip(rows, cells, strict=True))]
