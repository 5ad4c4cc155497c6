"""What happens during a run, as its flow yields it."""

from dataclasses import dataclass
from pathlib import Path

from ds4d.init.registration import Alignment
from ds4d.runs import RunFigures
from ds4d.scene import DynamicGaussians
from ds4d.training import Event as FitEvent
from ds4d.types import MultiViewVideo


@dataclass(frozen=True)
class StageStarted:
    """A part of the run has begun: `views`, `features`, `placement`, `fit`, `scores` or `outputs`."""

    name: str


@dataclass(frozen=True)
class Chosen:
    """What a part of the run works with, in a few words; `part` is `views`, `cost`, `features` or `init`."""

    part: str
    what: str


@dataclass(frozen=True)
class ShapeAligned:
    """The shape in the file to begin with has been brought to where the views show it."""

    alignment: Alignment


@dataclass(frozen=True)
class FitBegins:
    """All is ready for the first step.

    Attributes:
        scene: what is fitted; it changes with every step and may be looked at between two events.
        video: what it is fitted to, with cameras in the inner world.
    """

    scene: DynamicGaussians
    video: MultiViewVideo


@dataclass(frozen=True)
class FileWritten:
    """A result stands in the run's folder."""

    path: Path


@dataclass(frozen=True)
class Finished:
    """The run is whole; metrics.json holds its figures."""

    figures: RunFigures


Event = StageStarted | Chosen | ShapeAligned | FitBegins | FitEvent | FileWritten | Finished
