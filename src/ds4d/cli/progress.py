"""A run as it is seen: a bar with the time left on a terminal, plain lines elsewhere, nothing if asked."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ds4d.pipeline import Chosen, Event, FileWritten, ShapeAligned, StageStarted
from ds4d.registration import Alignment
from ds4d.training import StepDone

STAGES = {
    "views": "reading the input, making views where they are needed",
    "features": "looking at the frames",
    "placement": "placing the object",
    "fit": "fitting",
    "scores": "scoring the training views",
    "outputs": "drawing pictures and videos",
}
_LINES = 20  # of a fit, where there is no terminal


class Screen:
    """Whatever shows a run; this one shows nothing."""

    def __enter__(self) -> "Screen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        """Shows what has happened."""


def screen_for(*, quiet: bool) -> Screen:
    """What suits standard error."""
    if quiet:
        return Screen()
    console = Console(stderr=True)
    return _Bar(console) if console.is_terminal else _Lines()


class _Lines(Screen):
    def show(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            _say(STAGES[event.name])
        elif isinstance(event, Chosen):
            _say(f"  {event.part}: {event.what}")
        elif isinstance(event, ShapeAligned):
            _say(f"  {describe_alignment(event.alignment)}")
        elif isinstance(event, StepDone):
            if event.step % max(1, event.total_steps // _LINES) == 0:
                left = event.seconds / event.step * (event.total_steps - event.step)
                _say(f"  step {event.step} of {event.total_steps} ({describe(event)}), about {left:.0f} s left")
        elif isinstance(event, FileWritten):
            _say(f"  wrote {event.path}")


class _Bar(Screen):
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task = None

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._task = None
            if event.name != "fit":
                self._progress.console.print(STAGES[event.name])
        elif isinstance(event, ShapeAligned):
            self._progress.console.print(f"  {describe_alignment(event.alignment)}", highlight=False)
        elif isinstance(event, StepDone):
            if self._task is None:
                self._task = self._progress.add_task(STAGES["fit"], total=event.total_steps, note="")
            self._progress.update(self._task, completed=event.step, note=describe(event))
        elif isinstance(event, Chosen):
            self._progress.console.print(f"  {event.part}: {event.what}", highlight=False)
        elif isinstance(event, FileWritten):
            self._progress.console.print(f"  wrote {event.path}", highlight=False)


def describe(event: StepDone) -> str:
    """One step in a few words."""
    return f"{event.stage}, loss {event.loss:.4f}, {event.num_gaussians} Gaussians"


def describe_alignment(alignment: Alignment) -> str:
    """How a file's shape was turned and how well it fits, in one line."""
    turn = alignment.turn
    parts = [
        f"the shape's up axis is {turn.up_axis}{', it is mirrored' if turn.mirrored else ''}",
        f"the front sees it from azimuth {turn.azimuth_deg:.0f}, elevation {turn.elevation_deg:.0f}, "
        f"roll {turn.roll_deg:.0f}",
        f"silhouettes overlap (IoU) {alignment.silhouette_iou:.2f}",
        "it has no colours" if alignment.color_error is None else f"colours differ by {alignment.color_error:.2f}",
    ]
    if not alignment.knows_distance:
        parts.append("one view does not tell its distance: size and distance go together")
    return "; ".join(parts)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
