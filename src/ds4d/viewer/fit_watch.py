"""A fit in browsers while it runs."""

import time as clock

from ds4d.pipeline import Event, TrainingStarted
from ds4d.training import StepDone
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.viewer import Viewer

_EVERY = 2.0  # seconds from one image to the next, if no visitor wants something sooner
_FRACTION = 0.03  # of the time may go into images


class FitWatch:
    """Listens to the events of a run and shows the object as it is between two of them.

    Nothing is drawn while no browser is connected. While one is, the next image waits until all before have taken
    no more than 3 % of the time.

    Args:
        viewer: empty.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._next = PreviewTimes()
        self._unseen: StepDone | None = None  # the last step, until its image is sent

    def show(self, event: Event) -> None:
        """Takes note of what has happened, and draws the object if it is time."""
        if isinstance(event, TrainingStarted):
            self._viewer.show(event.scene, InputViews(event.video))
        if isinstance(event, StepDone):
            self._unseen = event
        began = clock.perf_counter()
        if self._viewer.has_visitors and self._next.is_due(began, wanted=self._viewer.has_wishes):
            if self._unseen is not None:
                self._viewer.panel.say(_describe(self._unseen))
            self._viewer.refresh(scene_changed=self._unseen is not None)
            self._unseen = None
            self._next.note(began, clock.perf_counter())


class PreviewTimes:
    """When the next image may be drawn, so that images take a small share of the time. All in seconds."""

    def __init__(self, every: float = _EVERY, share: float = _FRACTION) -> None:
        self._every = every
        self._share = share
        self._ended = float("-inf")
        self._cost = 0.0

    def is_due(self, now: float, *, wanted: bool) -> bool:
        """Whether to draw now.

        Args:
            now: on any clock, the same as that of `note`.
            wanted: whether someone waits for it; else it may wait for its turn.
        """
        passed = now - self._ended
        return passed >= self._cost / self._share and (wanted or passed >= self._every)

    def note(self, began: float, ended: float) -> None:
        """An image has been drawn."""
        self._ended, self._cost = ended, ended - began


def _describe(event: StepDone) -> str:
    return (
        f"fitting, step {event.step} of {event.total_steps} ({event.stage}), loss {event.loss:.4f}, "
        f"{event.num_gaussians} Gaussians"
    )
