"""The viewer during optimization."""

import time as clock

from ds4d.core import Warned, notify
from ds4d.pipeline import Event, TrainingStarted
from ds4d.training import StepDone
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.viewer import Viewer

_INTERVAL = 2.0  # seconds between updates, unless a browser asks for one sooner
_MAX_FRACTION = 0.03  # of the time that updates may take


class LiveViewer:
    """Listens to the events of a run and shows the scene as it is optimized.

    Nothing is rendered while no browser is connected. While one is, the next update waits until all before it have
    taken at most 3 % of the time. An error of the viewer never ends the run: it goes on without one, with a notice.

    Args:
        viewer: viewer that shows nothing yet.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._schedule = UpdateSchedule()
        self._last_step: StepDone | None = None  # the last step that was not shown yet
        self._has_failed = False

    def on_event(self, event: Event) -> None:
        """Takes an event of the run, and updates the browsers if it is time."""
        if self._has_failed:
            return
        try:
            self._show(event)
        except Exception as error:
            self._has_failed = True
            notify(Warned("viewer", f"the run goes on without its viewer, which has failed: {error!r}"))

    def _show(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._viewer.show(event.scene, InputViews(event.video))
        if isinstance(event, StepDone):
            self._last_step = event
        start = clock.perf_counter()
        if self._viewer.has_clients and self._schedule.is_due(start, requested=self._viewer.has_pending_updates):
            if self._last_step is not None:
                self._viewer.panel.set_status(_describe(self._last_step))
            self._viewer.refresh(scene_changed=self._last_step is not None)
            self._last_step = None
            self._schedule.record(start, clock.perf_counter())


class UpdateSchedule:
    """Decides when to update browsers, so that updates take a small fraction of the time.

    Args:
        interval: time between updates that no browser asked for, seconds.
        max_fraction: fraction of the time that updates may take.
    """

    def __init__(self, interval: float = _INTERVAL, max_fraction: float = _MAX_FRACTION) -> None:
        self._interval = interval
        self._max_fraction = max_fraction
        self._end = float("-inf")
        self._duration = 0.0

    def is_due(self, now: float, *, requested: bool) -> bool:
        """Whether to update now.

        Args:
            now: time on the clock of `record`, seconds.
            requested: whether a browser waits for an update; otherwise it waits for the interval to pass.
        """
        passed = now - self._end
        return passed >= self._duration / self._max_fraction and (requested or passed >= self._interval)

    def record(self, start: float, end: float) -> None:
        """Takes start and end of an update, seconds."""
        self._end, self._duration = end, end - start


def _describe(event: StepDone) -> str:
    return (
        f"step {event.step} of {event.total_steps} ({event.stage}), loss {event.loss:.4f}, "
        f"{event.num_gaussians} Gaussians"
    )
