"""Progress on standard error: bars on a terminal, lines elsewhere, nothing with --quiet."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ds4d.core import Progress

# Least seconds between two lines, absolute and as a fraction of the time that the work has taken.
_LEAST_PAUSE, _PAUSE_FRACTION = 5.0, 0.05


_LONGEST = 2000  # characters of one message; names and values in files can have any length


def printable(text: str) -> str:
    """A text as a terminal may get it: control characters and broken Unicode are escaped, line breaks stay.

    Names of files may hold any of these, and a terminal obeys them.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text)


def one_line(message: str) -> str:
    """A message of moderate length on one line, as `printable` gives it."""
    line = printable(" ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} [...] {line[-_LONGEST // 2 :]}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")


class Display:
    """The interface of displays; this one shows nothing."""

    def print(self, line: str) -> None:
        """Prints a line."""

    def progress(self, progress: Progress, note: str = "") -> None:
        """Shows the progress of some work, with a note on its last step."""

    def close(self) -> None:
        """Releases the terminal until there is more to show."""


def display_for(*, quiet: bool) -> Display:
    """The display for standard error."""
    if quiet:
        return Display()
    return Bars(Console(stderr=True, emoji=False)) if sys.stderr.isatty() else Lines()


class Lines(Display):
    """Progress as lines, at least five seconds apart.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_line = clock, clock()
        self._paces: dict[str, _Pace] = {}

    def print(self, line: str) -> None:
        """See `Display`."""
        print(printable(line), file=sys.stderr, flush=True)
        self._last_line = self._clock()

    def progress(self, progress: Progress, note: str = "") -> None:
        """See `Display`; the last step of long work is always shown."""
        now = self._clock()
        pace = self._paces.get(progress.work)
        if pace is None or progress.done < pace.done:
            pace = self._paces[progress.work] = _Pace(progress.done, now)
        pace.done = progress.done
        is_last, took = progress.done >= progress.total, now - pace.began
        if is_last:
            del self._paces[progress.work]
        if (is_last and took >= _LEAST_PAUSE) or now - self._last_line >= max(_LEAST_PAUSE, _PAUSE_FRACTION * took):
            left = "" if is_last else pace.describe_rest(progress.total, now)
            self.print(f"  {progress.work}: {progress.done} of {progress.total}{left}{note and f' ({note})'}")


class Bars(Display):
    """A progress bar for each work that is running.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            redirect_stdout=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._latest: dict[str, Progress] = {}

    def print(self, line: str) -> None:
        """See `Display`."""
        self._bars.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def progress(self, progress: Progress, note: str = "") -> None:
        """See `Display`; a full bar stays until other work begins."""
        latest = self._latest.get(progress.work)
        if latest is None or progress.done < latest.done:
            self._begin(progress)
        self._latest[progress.work] = progress
        self._bars.update(
            self._tasks[progress.work], completed=progress.done, total=progress.total, note=printable(note)
        )

    def close(self) -> None:
        """See `Display`."""
        self._bars.stop()

    def _begin(self, progress: Progress) -> None:
        self._bars.start()
        over = [work for work, latest in self._latest.items() if latest.done >= latest.total or work == progress.work]
        for work in over:
            self._bars.remove_task(self._tasks.pop(work))
            del self._latest[work]
        task = self._bars.add_task(printable(progress.work), total=progress.total, completed=progress.done, note="")
        self._tasks[progress.work] = task


class _Pace:
    """The pace of some work since its first report."""

    def __init__(self, done: int, began: float) -> None:
        self.done, self.began, self._first = done, began, done

    def describe_rest(self, total: int, now: float) -> str:
        """The estimated time left; empty before the first step."""
        if self.done == self._first:
            return ""
        left = (now - self.began) / (self.done - self._first) * (total - self.done)
        return f", about {describe_seconds(left)} left"


def describe_seconds(seconds: float) -> str:
    """A duration, rounded for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
