"""Work in progress on standard error: a bar on a terminal, plain lines elsewhere, nothing if asked."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ds4d.core import Progress

# Between two plain lines lie at least so many seconds, and more in work that has taken long.
_LEAST_PAUSE, _PAUSE_FRACTION = 5.0, 0.05


class Display:
    """Whatever shows work in progress; this one shows nothing."""

    def say(self, line: str) -> None:
        """Shows a line that stays."""

    def progress(self, progress: Progress, note: str = "") -> None:
        """Shows how far some work is, with a few words about the last step."""

    def close(self) -> None:
        """Ends it, until there is more to show."""


def display_for(*, quiet: bool) -> Display:
    """What suits standard error."""
    if quiet:
        return Display()
    return Bars(Console(stderr=True, emoji=False)) if sys.stderr.isatty() else Lines()


class Lines(Display):
    """A line now and then.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_line = clock, clock()
        self._paces: dict[str, _Pace] = {}

    def say(self, line: str) -> None:
        """See `Display`."""
        print(line, file=sys.stderr, flush=True)
        self._last_line = self._clock()

    def progress(self, progress: Progress, note: str = "") -> None:
        """See `Display`; the last step of work that took a while is always shown."""
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
            self.say(f"  {progress.work}: {progress.done} of {progress.total}{left}{note and f' ({note})'}")


class Bars(Display):
    """A bar for each work in hand.

    Args:
        console: a terminal.
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

    def say(self, line: str) -> None:
        """See `Display`."""
        self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def progress(self, progress: Progress, note: str = "") -> None:
        """See `Display`; a bar that is full stays until other work begins."""
        latest = self._latest.get(progress.work)
        if latest is None or progress.done < latest.done:
            self._begin(progress)
        self._latest[progress.work] = progress
        self._bars.update(self._tasks[progress.work], completed=progress.done, total=progress.total, note=note)

    def close(self) -> None:
        """See `Display`."""
        self._bars.stop()

    def _begin(self, progress: Progress) -> None:
        self._bars.start()
        over = [work for work, latest in self._latest.items() if latest.done >= latest.total or work == progress.work]
        for work in over:
            self._bars.remove_task(self._tasks.pop(work))
            del self._latest[work]
        task = self._bars.add_task(progress.work, total=progress.total, completed=progress.done, note="")
        self._tasks[progress.work] = task


class _Pace:
    """How fast some work goes, since it was first heard of."""

    def __init__(self, done: int, began: float) -> None:
        self.done, self.began, self._first = done, began, done

    def describe_rest(self, total: int, now: float) -> str:
        """The time left; nothing before the first step."""
        if self.done == self._first:
            return ""
        left = (now - self.began) / (self.done - self._first) * (total - self.done)
        return f", about {describe_seconds(left)} left"


def describe_seconds(seconds: float) -> str:
    """A time that need not be exact."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
