"""The board: the state of every object, errors by cause, seconds, price and quality flags."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Literal
from urllib.parse import quote

from ds4d.batch.claims import Claims, Record
from ds4d.batch.queue import divide

State = Literal["waiting", "running", "done", "retry", "failed"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "retry", "failed")
_MAX_ROWS = 2000  # on the page; failures and flags first


@dataclass(frozen=True)
class Row:
    """One object on the board.

    Attributes:
        name: name of the object.
        state: waiting, running, done, to be tried again, or failed for good.
        record: its last record.
    """

    name: str
    state: State
    record: Record

    @property
    def seconds(self) -> float:
        """Time of all its attempts that have ended, seconds."""
        return self.record.spent

    @property
    def flags(self) -> Sequence[str]:
        """What may be wrong with its result."""
        return self.run.get("flags", ())

    @property
    def run(self) -> Mapping[str, Any]:
        """Metrics of the run, if it is done."""
        return self.record.data.get("run", {}) if self.state == "done" else {}

    @property
    def cause(self) -> str:
        """Cause of the last failure."""
        return self.record.data.get("cause", "") if self.state in ("failed", "retry") else ""


@dataclass(frozen=True)
class Board:
    """The state of a batch at one moment.

    Attributes:
        rows: all objects.
        price: dollars per hour of one attempt; None if it is not known.
    """

    rows: Sequence[Row]
    price: float | None = None

    def count(self, state: State) -> int:
        """The number of objects in a state."""
        return sum(row.state == state for row in self.rows)

    def dollars(self, seconds: float) -> float | None:
        """The price of some seconds of work."""
        return None if self.price is None else seconds / 3600 * self.price

    def record(self) -> dict[str, Any]:
        """The board for programs, as JSON can hold it."""
        seconds = sum(row.seconds for row in self.rows)
        return {
            "objects": len(self.rows),
            **{state: self.count(state) for state in STATES},
            "causes": dict(Counter(row.cause for row in self.rows if row.cause)),
            "flags": dict(Counter(flag for row in self.rows for flag in row.flags)),
            "seconds": round(seconds, 1),
            "dollars": self.dollars(seconds),
            "failures": {
                row.name: {"cause": row.cause, "error": row.record.data.get("error", "")}
                for row in self.rows
                if row.state == "failed"
            },
        }


def read_board(names: Collection[str], claims: Claims, price: float | None = None) -> Board:
    """The board of a batch.

    Args:
        names: names of all objects.
        claims: claims of an observer of its own, which keeps what it has read.
        price: dollars per hour of one attempt.
    """
    rows = []
    for bucket, members in divide(names, claims.buckets).items():
        survey = claims.survey(bucket, members)
        busy, ended = set(survey.busy), set(survey.ended)
        for name in members:
            record = claims.record(name) or Record("released")
            rows.append(Row(name, _state(record, is_busy=name in busy, is_ended=name in ended), record))
    order = {name: number for number, name in enumerate(names)}
    return Board(sorted(rows, key=lambda row: order[row.name]), price)


def page(board: Board, title: str, folder: str = "") -> str:
    """The board as a web page without scripts; pictures are those of the runs beside it.

    Args:
        board: the board.
        title: title of the page.
        folder: prefix of the runs' folders, with a slash at its end; empty where the page lies beside them.
    """
    record = board.record()
    tiles = [("objects", str(record["objects"])), *((state, str(record[state])) for state in STATES)]
    tiles.append(("hours of work", f"{record['seconds'] / 3600:.2f}"))
    if record["dollars"] is not None:
        tiles.append(("dollars", f"{record['dollars']:.2f}"))
    sections = [_causes(board), _flags(board), _objects(board, folder)]
    template = (files("ds4d.batch") / "template" / "board.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title),
        subtitle=f"as of {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC",
        headline="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles),
        sections="".join(f"<section>{section}</section>" for section in sections if section),
    )


def _state(record: Record, *, is_busy: bool, is_ended: bool) -> State:
    if is_busy:
        return "running"
    if is_ended:
        return "done" if record.kind == "done" else "failed"
    return "retry" if record.kind == "failed" else "waiting"


def _causes(board: Board) -> str:
    by_cause: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.cause:
            by_cause.setdefault(row.cause, []).append(row)
    if not by_cause:
        return ""
    rows = []
    for cause, members in sorted(by_cause.items(), key=lambda each: -len(each[1])):
        some = ", ".join(row.name for row in members[:5]) + ("..." if len(members) > 5 else "")
        rows.append((cause, str(len(members)), some, str(members[0].record.data.get("error", ""))[:300]))
    return f"<h2>Errors by cause</h2>{_table(('cause', 'objects', 'such as', 'error of the first'), rows)}"


def _flags(board: Board) -> str:
    counts = Counter(flag for row in board.rows for flag in row.flags)
    rows = [(name, str(count)) for name, count in counts.most_common()]
    return f"<h2>Quality flags</h2>{_table(('flag', 'objects'), rows)}" if rows else ""


def _objects(board: Board, folder: str) -> str:
    urgent = {"failed": 0, "retry": 1, "running": 2, "done": 4, "waiting": 5}
    rows = sorted(board.rows, key=lambda row: 3 if row.flags else urgent[row.state])
    cells = []
    for row in rows[:_MAX_ROWS]:
        place, name = escape(quote(f"{folder}{row.name}")), escape(row.name)
        done = row.state == "done"
        picture = f'<img loading="lazy" alt="" src="{place}/contact_sheet.png">' if done else ""
        link = f'<a href="{place}/report.html">{name}</a>' if done else name
        dollars = board.dollars(row.seconds)
        psnr = row.run.get("input_psnr")
        notes = row.record.data.get("error", "") if row.cause else ", ".join(row.flags)
        cells.append(
            f"<tr><td>{picture}</td><td>{link}</td><td class={row.state}>{row.state}</td>"
            f"<td>{row.seconds:.1f}</td><td>{'' if dollars is None else f'{dollars:.4f}'}</td>"
            f"<td>{'' if psnr is None else f'{psnr:.1f}'}</td><td>{escape(row.record.host)}</td>"
            f"<td class=flag>{escape(str(notes)[:300])}</td></tr>"
        )
    head = ("", "object", "state", "seconds", "dollars", "input PSNR, dB", "host", "error or flags")
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    more = f'<p class="note">and {len(rows) - _MAX_ROWS} more</p>' if len(rows) > _MAX_ROWS else ""
    return (
        f'<h2>Objects</h2><div class="wide"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(cells)}</tbody></table></div>{more}"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
