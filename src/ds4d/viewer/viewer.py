"""A 4D scene in browsers.

One thread drives a viewer by calling `refresh` when something may have changed; viser's own threads only record
requests. So the scene may change between two calls, as one does while it is optimized.
"""

import contextlib
import io
import itertools
import math
import threading
import warnings
from typing import Any

import torch

from ds4d.core import Warned, install_command, notify
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, Scene, viewing_distance
from ds4d.viewer.access import AccessRules
from ds4d.viewer.addresses import DEFAULT_HOST, choose_port, describe_address
from ds4d.viewer.camera_poses import CameraPose
from ds4d.viewer.client import Client, SceneFrame
from ds4d.viewer.control_rules import ControlRules
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.panel import Panel, ViewSettings
from ds4d.viewer.splat_arrays import MAGNIFICATION, splat_arrays
from ds4d.visualize import orbit_path

_IDLE_INTERVAL = 0.25  # seconds between two updates while nothing happens
_PLAYBACK_INTERVAL = 1 / 24  # seconds between two updates while the video plays
_POINT_SIZE = 0.006  # normalized space


class Viewer:
    """A web page that shows a scene, served from the moment the viewer is made.

    Args:
        host: name or address of the network interface to listen on; the default accepts browsers of this machine only.
        port: port to listen on, which must be free; None takes 8080 or the next free one.
        token: secret that the address must contain when the page is opened; None for none.

    Attributes:
        port: port that it listens on.

    Raises:
        ValueError: the host or the port cannot be used.
        ImportError: viser is not installed.
    """

    def __init__(self, host: str = DEFAULT_HOST, port: int | None = None, *, token: str | None = None) -> None:
        try:
            import viser

            from ds4d.viewer.guard import Guard
        except ImportError as error:
            raise ImportError(f"the viewer needs viser. Install it with: {install_command('viewer')}") from error
        self.host, self.token = host, token
        # A browser may leave at any time, also while it is updated.
        warnings.filterwarnings("ignore", "Queued a .* on a closed connection", UserWarning)
        self._rules = ControlRules()
        chosen = choose_port(host, port)
        self._guard = Guard(AccessRules(host, chosen, token), self._rules, viser.__version__)
        with _silence(), self._guard.installed():  # viser prints a table
            self._server: Any = viser.ViserServer(host, chosen, label="ds4d", verbose=False)
        self.port: int = self._server.get_port()
        # Viser can publish a server through its makers' machine; this one stays on its host.
        self._server.request_share_url = lambda: None
        self._server.gui.configure_theme(control_width="large", show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+y")
        self._changed = threading.Event()
        self._server.on_client_connect(lambda _: self._changed.set())
        self.panel = Panel(self._server.gui, self._changed.set, self._rules)
        self._clients: dict[int, Client] = {}
        self._dropped: set[int] = set()
        self._has_warned = False
        self._scene: Scene | None = None
        self._views: InputViews | None = None
        self._splats: Any = None
        self._points: Any = None
        self._frame_numbers = itertools.count()
        self._shown: tuple[float, str] | None = None

    @property
    def address(self) -> list[str]:
        """The address to open, and how to reach it from another machine, one line each."""
        return describe_address(self.host, self.port, self.token)

    @property
    def has_clients(self) -> bool:
        """Whether a browser is connected."""
        return bool(self._server.get_clients())

    @property
    def has_pending_updates(self) -> bool:
        """Whether a browser has connected or a user has changed something since the last `refresh`."""
        return self._changed.is_set()

    def show(self, scene: Scene, views: InputViews | None) -> None:
        """Shows a scene and its training views.

        Args:
            scene: scene to show, which may change between two calls of `refresh`.
            views: training views, or None if they cannot be shown.
        """
        self._scene, self._views, self._shown = scene, views, None
        self._renderer = renderer_for(scene.device)
        self.panel.configure(
            duration=scene.timeline.duration,
            moves=len(scene.timeline.times) > 1,
            has_views=views is not None,
            has_saliency=views is not None and views.saliency is not None,
        )
        start, pose = self._server.initial_camera, _initial_pose(scene, views)
        start.position, start.look_at, start.fov = pose.position, pose.target, math.radians(pose.fovy_deg)
        self._changed.set()

    def refresh(self, *, scene_changed: bool = False) -> None:
        """Updates all browsers; does nothing while there are none. One that cannot be updated is dropped.

        Args:
            scene_changed: whether the scene has changed since the last call.
        """
        self._changed.clear()
        settings = self.panel.update()
        self._update_clients()
        if self._scene is None or not self._clients:
            return
        if scene_changed or self._shown != (settings.time, settings.render_mode):
            self._send(self._scene, settings)
        for number, client in list(self._clients.items()):
            try:
                client.refresh(settings, self._frame)
            except Exception as error:  # of what a browser has sent, or because it has left
                self._drop(number, error)

    def wait(self) -> None:
        """Waits until a user changes something, or it is time for the next update."""
        self._changed.wait(_PLAYBACK_INTERVAL if self.panel.playing else _IDLE_INTERVAL)

    def close(self) -> None:
        """Stops the server."""
        with _silence():
            self._server.stop()

    def _update_clients(self) -> None:
        """Drops browsers that have left and sets up those that have connected."""
        handles = self._server.get_clients()
        self._dropped &= handles.keys()
        for number in self._clients.keys() - handles.keys():
            self._clients.pop(number).close()
        if self._scene is None:
            return
        for number in handles.keys() - self._clients.keys() - self._dropped:
            try:
                self._clients[number] = Client(handles[number], self._views, self._changed.set, self._rules)
            except Exception as error:  # of what a browser has sent, or because it has left
                self._drop(number, error)

    def _drop(self, number: int, error: Exception) -> None:
        """Goes on without a browser."""
        self._dropped.add(number)
        if (client := self._clients.pop(number, None)) is not None:
            client.close()
        self._guard.drop(self._server, number)
        if not self._has_warned and number in self._server.get_clients():
            self._has_warned = True  # once, whoever connects
            notify(Warned("viewer", f"a browser was dropped, because it could not be updated: {error!r}"))

    def _send(self, scene: Scene, settings: ViewSettings) -> None:
        """Evaluates the scene and sends it to all browsers."""
        with torch.no_grad():
            gaussians = scene.at(torch.tensor([settings.time], device=scene.device))
            arrays = splat_arrays(gaussians)
        self._frame = SceneFrame(gaussians, self._renderer, next(self._frame_numbers))
        splats = (arrays.centers, arrays.covariances, arrays.colors, arrays.opacities)
        with self._server.atomic():
            if self._splats is None:
                self._splats = self._server.scene.add_gaussian_splats("/splats", *splats, scale=1 / MAGNIFICATION)
            elif settings.render_mode == "splats":
                self._splats.set_gaussians(*splats)
            if settings.render_mode == "points":
                self._points = self._server.scene.add_point_cloud(
                    "/points",
                    arrays.centers / MAGNIFICATION,
                    arrays.colors,
                    point_size=_POINT_SIZE,
                    point_shape="circle",
                    precision="float32",
                )
            elif self._points is not None:
                self._points.visible = False
            self._splats.visible = settings.render_mode == "splats"
        self._shown = (settings.time, settings.render_mode)


def _initial_pose(scene: Scene, views: InputViews | None) -> CameraPose:
    """The initial camera: that of the input view, for comparison, or one in front of the object."""
    if views is not None:
        return views.pose(0, 0)
    cameras = orbit_path(1, elevation_deg=0.0, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=1)
    return CameraPose.from_cameras(cameras, 0, 0)


def _silence() -> contextlib.redirect_stdout:
    """Suppresses what viser prints."""
    return contextlib.redirect_stdout(io.StringIO())
