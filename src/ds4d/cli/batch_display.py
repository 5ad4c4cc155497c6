"""Display of a batch: a live table on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table

from ds4d.batch.board import STATES, Board
from ds4d.batch.worker import Ended, Event, Started
from ds4d.cli.console import Console
from ds4d.cli.displays import describe_seconds, one_line, printable

_RECENT = 8  # ended attempts in the live table


class BatchDisplay:
    """Shows what a worker does, and the board as it was last read.

    Args:
        console: where lines are printed.
        live: the live table of a terminal; None elsewhere.
    """

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._running: dict[str, float] = {}
        self._recent: list[tuple[str, str, str]] = []
        self._board: Board | None = None

    def event(self, event: Event) -> None:
        """Shows what has happened."""
        if isinstance(event, Started):
            self._running[event.name] = time.monotonic()
        elif isinstance(event, Ended):
            self._running.pop(event.name, None)
            note = str(event.data.get("error", "")) or describe_seconds(float(event.data.get("seconds", 0.0)))
            self._recent = [*self._recent[1 - _RECENT :], (event.name, event.outcome, one_line(note))]
            if self._live is None:
                self._console.print(f"{event.name}: {event.outcome}, {note}")
        if self._live is not None:
            self._live.update(self._table())

    def board(self, board: Board) -> None:
        """Shows the state of the whole batch."""
        before, self._board = self._board, board
        if self._live is None and (before is None or describe_board(before) != describe_board(board)):
            self._console.print(f"batch: {describe_board(board)}")

    def _table(self) -> Table:
        title = "" if self._board is None else describe_board(self._board)
        table = Table("object", "state", "note", title=title, title_justify="left", expand=True)
        for name, outcome, note in self._recent:
            table.add_row(printable(name), outcome, note)
        for name, began in self._running.items():
            table.add_row(printable(name), "running", describe_seconds(time.monotonic() - began))
        return table


@contextmanager
def batch_display(console: Console) -> Generator[BatchDisplay, None, None]:
    """The display of a batch while the block lasts."""
    console.release()
    if console.options.quiet or not sys.stderr.isatty():
        yield BatchDisplay(console, None)
        return
    with Live(
        console=RichConsole(stderr=True, emoji=False, markup=False), refresh_per_second=2, transient=True
    ) as live:
        yield BatchDisplay(console, live)


def describe_board(board: Board) -> str:
    """The numbers of objects by state, and what they cost."""
    counts = ", ".join(f"{count} {state}" for state in STATES if (count := board.count(state)))
    seconds = sum(row.seconds for row in board.rows)
    dollars = board.dollars(seconds)
    price = "" if dollars is None else f", {dollars:.2f} dollars"
    return f"{len(board.rows)} objects: {counts}; {describe_seconds(seconds)} of work{price}"
