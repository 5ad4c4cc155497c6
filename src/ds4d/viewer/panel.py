"""The controls that all browsers share, and playback."""

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ds4d.viewer.control_rules import ControlRules, is_color, is_flag, number_in, one_of

RENDER_MODES = ("splats", "points", "depth")
_PLAY, _PAUSE = "player-play", "player-pause"  # icons
_MIN_SPEED, _MAX_SPEED = 0.1, 4.0


@dataclass(frozen=True)
class ViewSettings:
    """What the browsers show.

    Attributes:
        time: time of the scene, in [0, 1].
        seconds: the same in seconds of the video.
        render_mode: one of `RENDER_MODES`.
        background: 8-bit background color.
        cameras: whether the cameras of the training views are shown.
        saliency: whether the saliency map is shown over the input view's image.
    """

    time: float
    seconds: float
    render_mode: str
    background: tuple[int, int, int]
    cameras: bool
    saliency: bool


class Panel:
    """Time, playback and display settings in a viser panel that every browser has.

    Args:
        gui: viser's GUI of the server.
        on_change: function called from viser's threads when a user changes a control.
        rules: rules of the server, to which those of the panel are added.
    """

    def __init__(self, gui: Any, on_change: Callable[[], None], rules: ControlRules) -> None:
        self._status = gui.add_markdown("", visible=False)
        self._play = gui.add_button("play", icon=_PLAY)
        self._clock = gui.add_markdown("")
        self._time = gui.add_slider("time", 0.0, 1.0, 0.001, 0.0, hint="0: first frame, 1: last frame")
        self._speed = gui.add_slider("speed", _MIN_SPEED, _MAX_SPEED, 0.1, 1.0, hint="1: speed of the input video")
        self._render_mode = gui.add_dropdown("show", RENDER_MODES)
        self._background = gui.add_rgb("background", (255, 255, 255))
        self._cameras = gui.add_checkbox("cameras", True, visible=False, hint="click a camera to view from it")
        self._saliency = gui.add_checkbox("saliency map", False, visible=False, hint="where the input view moves")
        self._duration = 1.0
        self._is_playing = False
        rules.add(self._play, is_flag)
        self._play.on_click(lambda event: self._toggle(on_change))
        self._last_update = clock.perf_counter()
        for handle, rule in (
            (self._time, number_in(0.0, 1.0)),
            (self._speed, number_in(_MIN_SPEED, _MAX_SPEED)),
            (self._render_mode, one_of(RENDER_MODES)),
            (self._background, is_color),
            (self._cameras, is_flag),
            (self._saliency, is_flag),
        ):
            rules.add(handle, rule)
            handle.on_update(lambda event: on_change() if event.client is not None else None)

    def configure(self, *, duration: float, moves: bool, has_views: bool, has_saliency: bool) -> None:
        """Shows the controls that apply to a scene.

        Args:
            duration: duration of the video, seconds.
            moves: whether the scene changes over time.
            has_views: whether the training views can be shown.
            has_saliency: whether there is a saliency map.
        """
        self._duration = duration
        for handle in (self._play, self._clock, self._time, self._speed):
            handle.visible = moves
        self._cameras.visible = has_views
        self._saliency.visible = has_saliency

    def set_status(self, status: str) -> None:
        """Sets the line above the controls; an empty one hides it."""
        self._status.content = status
        self._status.visible = bool(status)

    @property
    def playing(self) -> bool:
        """Whether the video plays."""
        return self._is_playing

    def _toggle(self, on_change: Callable[[], None]) -> None:
        self._is_playing = not self._is_playing
        self._play.label, self._play.icon = ("pause", _PAUSE) if self._is_playing else ("play", _PLAY)
        on_change()

    def update(self) -> ViewSettings:
        """Advances the time while the video plays, and reads the controls."""
        now = clock.perf_counter()
        if self.playing:
            passed = now - self._last_update
            self._time.value = advance_time(self._time.value, passed, duration=self._duration, speed=self._speed.value)
        self._last_update = now
        time = float(self._time.value)
        clock_text = f"{time * self._duration:.2f} s of {self._duration:.2f} s"
        if self._clock.content != clock_text:
            self._clock.content = clock_text
        return ViewSettings(
            time=time,
            seconds=time * self._duration,
            render_mode=self._render_mode.value,
            background=self._background.value,
            cameras=self._cameras.value,
            saliency=self._saliency.value,
        )


def advance_time(time: float, seconds: float, *, duration: float, speed: float) -> float:
    """The time in [0, 1] after some seconds of playback, which starts again after the end.

    Args:
        time: time before, in [0, 1].
        seconds: seconds that have passed.
        duration: duration of the video, seconds.
        speed: playback speed; 1 is that of the input video.
    """
    later = time + speed * seconds / duration
    return later if later <= 1 else later % 1.0
