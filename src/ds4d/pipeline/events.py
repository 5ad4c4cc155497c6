"""What happens during a run, as its flow yields it."""

from dataclasses import dataclass
from pathlib import Path

from ds4d.init.registration import Registration
from ds4d.runs import RunMetrics
from ds4d.scene import DynamicGaussians
from ds4d.training import Event as FitEvent
from ds4d.types import MultiViewVideo


@dataclass(frozen=True)
class StageStarted:
    """A part of the run has begun: `views`, `features`, `init`, `fit`, `evaluate` or `outputs`."""

    name: str


@dataclass(frozen=True)
class Resolved:
    """What a part of the run works with, in a few words; `part` is `views`, `cost`, `features` or `init`."""

    part: str
    what: str


@dataclass(frozen=True)
class MeshRegistered:
    """The shape in the file to begin with has been brought to where the views show it."""

    registration: Registration


@dataclass(frozen=True)
class FitStarted:
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

    metrics: RunMetrics


Event = StageStarted | Resolved | MeshRegistered | FitStarted | FitEvent | FileWritten | Finished
