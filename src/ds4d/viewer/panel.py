"""The controls that all who look share."""

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ds4d.viewer.playback import LEAST_SPEED, MOST_SPEED, advance

SHOWN = ("splats", "points", "depth")


@dataclass(frozen=True)
class Look:
    """What is to be seen.

    Attributes:
        time: of the object, in [0, 1].
        shown: one of `SHOWN`.
        background: 8-bit color.
        cameras: whether the input's cameras stand in the scene.
        saliency: whether the heat map lies over the real image.
    """

    time: float
    shown: str
    background: tuple[int, int, int]
    cameras: bool
    saliency: bool


class Panel:
    """Time, playing and what is shown, in a viser panel that every browser has.

    Args:
        gui: viser's.
        on_change: called from viser's threads whenever someone has changed something.
    """

    def __init__(self, gui: Any, on_change: Callable[[], None]) -> None:
        self._status = gui.add_markdown("", visible=False)
        self._time = gui.add_slider("time", 0.0, 1.0, 0.001, 0.0, hint="from the first frame to the last")
        self._playing = gui.add_checkbox("play", False)
        self._speed = gui.add_slider("speed", LEAST_SPEED, MOST_SPEED, 0.1, 1.0, hint="1 plays as recorded")
        self._shown = gui.add_dropdown("show", SHOWN)
        self._background = gui.add_rgb("background", (255, 255, 255))
        self._cameras = gui.add_checkbox("cameras", True, visible=False, hint="click one to look through it")
        self._saliency = gui.add_checkbox("heat map", False, visible=False, hint="where the real view moves")
        self._duration = 1.0
        self._last_tick = clock.perf_counter()
        for handle in (
            self._time, self._playing, self._speed, self._shown, self._background, self._cameras, self._saliency,
        ):  # fmt: skip
            handle.on_update(lambda event: on_change() if event.client is not None else None)

    def suit(self, *, duration: float, moves: bool, has_views: bool, has_saliency: bool) -> None:
        """Shows what makes sense for an object: nothing of time for one that stands still, for instance."""
        self._duration = duration
        for handle in (self._time, self._playing, self._speed):
            handle.visible = moves
        self._cameras.visible = has_views
        self._saliency.visible = has_saliency

    def say(self, status: str) -> None:
        """A line above the controls."""
        self._status.content = status
        self._status.visible = bool(status)

    @property
    def playing(self) -> bool:
        """Whether time goes on by itself."""
        return self._playing.value

    def tick(self) -> Look:
        """Lets time go on if the clip plays, and says what is to be seen."""
        now = clock.perf_counter()
        if self.playing:
            passed = now - self._last_tick
            self._time.value = advance(self._time.value, passed, duration=self._duration, speed=self._speed.value)
        self._last_tick = now
        return Look(
            time=float(self._time.value),
            shown=self._shown.value,
            background=self._background.value,
            cameras=self._cameras.value,
            saliency=self._saliency.value,
        )
