"""Events of a run, in the order in which `iter_run` yields them."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from ds4d.core import Degraded, Notice, Warned, notices_to
from ds4d.runs import RunMetrics
from ds4d.scene import DynamicGaussians
from ds4d.shapes.registration import Registration
from ds4d.training import Event as TrainingEvent
from ds4d.types import MultiViewVideo


@dataclass(frozen=True)
class StageStarted:
    """A stage of the run has begun.

    Attributes:
        name: one of `views`, `features`, `init`, `training`, `evaluate` and `outputs`.
    """

    name: str


@dataclass(frozen=True)
class Resolved:
    """A choice that was left to the run has been made.

    Attributes:
        part: one of `views`, `cost`, `windows` (of long clips), `features` and `init`.
        value: what was chosen or predicted, in a few words.
    """

    part: str
    value: str


@dataclass(frozen=True)
class MeshRegistered:
    """The mesh to start from has been registered to the views.

    Attributes:
        registration: pose and quality of the registration.
    """

    registration: Registration


@dataclass(frozen=True)
class TrainingStarted:
    """The first step is about to be taken.

    Attributes:
        scene: the scene being optimized; it changes with every step and may be rendered between two events.
        video: training views, with cameras in normalized space.
    """

    scene: DynamicGaussians
    video: MultiViewVideo


@dataclass(frozen=True)
class FileWritten:
    """A result is in the folder of the run.

    Attributes:
        path: path of the file.
    """

    path: Path


@dataclass(frozen=True)
class Finished:
    """The run is finished.

    Attributes:
        metrics: the content of metrics.json.
    """

    metrics: RunMetrics


Event = (
    StageStarted
    | Resolved
    | MeshRegistered
    | TrainingStarted
    | TrainingEvent
    | FileWritten
    | Degraded
    | Warned
    | Finished
)


def with_notices(events: Generator[Event, None, None], notices: list[Notice]) -> Generator[Event, None, None]:
    """Yields events, and before each of them the notices that were given on the way to it.

    Args:
        events: events of a run.
        notices: notices given before the first event; those of the run are appended, so that it can record them.
    """
    yielded = 0
    try:
        while True:
            try:
                with notices_to(notices.append):
                    event = next(events, None)
            finally:
                yield from notices[yielded:]
                yielded = len(notices)
            if event is None:
                return
            yield event
    finally:
        events.close()
