"""A 4D object in browsers.

One thread drives a viewer: it calls `refresh` whenever something may have changed. Viser's own threads only note what
visitors want. So the object may change between two calls, as one that is being fitted does.
"""

import contextlib
import io
import itertools
import math
import threading
from typing import Any

import torch

from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, Scene, viewing_distance
from ds4d.viewer.addresses import DEFAULT_HOST, choose_port, describe_address
from ds4d.viewer.camera_poses import CameraPose
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.panel import Look, Panel
from ds4d.viewer.splat_arrays import MAGNIFIED, splat_arrays
from ds4d.viewer.visitor import Subject, Visitor
from ds4d.visualize import orbit_path

_IDLE = 0.25  # seconds between two looks at the clock while nothing happens
_TICK = 1 / 24  # while the clip plays
_POINT_SIZE = 0.006  # inner units


class Viewer:
    """A web page that shows a scene; served as soon as it is made, to whoever reaches the host.

    Args:
        host: name or address of the network interface to listen on; the default is reached from this machine alone.
        port: that must be free; if None, 8080 or the next free one.

    Attributes:
        port: the one it listens on.

    Raises:
        ValueError: the host or the port cannot be used.
        ImportError: viser is not installed.
    """

    def __init__(self, host: str = DEFAULT_HOST, port: int | None = None) -> None:
        try:
            import viser
        except ImportError as error:
            raise ImportError("the viewer needs viser. Run: pip install 'ds4d[viewer]'") from error
        self.host = host
        with _silence():  # it would print a table of its own
            self._server: Any = viser.ViserServer(host, choose_port(host, port), label="ds4d", verbose=False)
        self.port: int = self._server.get_port()
        # Viser can publish a server through a machine of its makers'; this one stays where it was asked to be.
        self._server.request_share_url = lambda: None
        self._server.gui.configure_theme(control_width="large", show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+y")
        self._changed = threading.Event()
        self._server.on_client_connect(lambda _: self._changed.set())
        self.panel = Panel(self._server.gui, self._changed.set)
        self._visitors: dict[int, Visitor] = {}
        self._scene: Scene | None = None
        self._views: InputViews | None = None
        self._splats: Any = None
        self._points: Any = None
        self._numbers = itertools.count()
        self._drawn: tuple[float, str] | None = None

    @property
    def address(self) -> list[str]:
        """What to open, and how to reach it from elsewhere, a line each."""
        return describe_address(self.host, self.port)

    @property
    def has_visitors(self) -> bool:
        """Whether a browser is connected."""
        return bool(self._server.get_clients())

    @property
    def has_wishes(self) -> bool:
        """Whether a visitor has come or changed something since the last `refresh`."""
        return self._changed.is_set()

    def show(self, scene: Scene, views: InputViews | None) -> None:
        """Takes a scene to show, and the input that it was made of.

        Args:
            scene: may change between two calls of `refresh`.
            views: None where the input cannot be shown.
        """
        self._scene, self._views, self._drawn = scene, views, None
        self._renderer = renderer_for(scene.device)
        self.panel.suit(
            duration=scene.timeline.duration,
            moves=len(scene.timeline.times) > 1,
            has_views=views is not None,
            has_saliency=views is not None and views.saliency is not None,
        )
        start, pose = self._server.initial_camera, _first_pose(scene, views)
        start.position, start.look_at, start.fov = pose.position, pose.target, math.radians(pose.fovy_deg)
        self._changed.set()

    def refresh(self, *, scene_changed: bool = False) -> None:
        """Brings all browsers up to date; does nothing while there are none.

        Args:
            scene_changed: whether the scene is another than at the last call.
        """
        self._changed.clear()
        look = self.panel.tick()
        self._welcome()
        if self._scene is None or not self._visitors:
            return
        if scene_changed or self._drawn != (look.time, look.shown):
            self._draw(self._scene, look)
        for visitor in list(self._visitors.values()):
            visitor.refresh(look, self._subject)

    def wait(self) -> None:
        """Waits until a visitor wants something, or it is time for the next image."""
        self._changed.wait(_TICK if self.panel.playing else _IDLE)

    def close(self) -> None:
        """Ends the server; browsers see that it is gone."""
        with _silence():
            self._server.stop()

    def _welcome(self) -> None:
        clients = self._server.get_clients()
        self._visitors = {number: visitor for number, visitor in self._visitors.items() if number in clients}
        if self._scene is not None:
            for number in clients.keys() - self._visitors.keys():
                self._visitors[number] = Visitor(clients[number], self._views, self._changed.set)

    def _draw(self, scene: Scene, look: Look) -> None:
        """Evaluates the scene and sends it to all browsers."""
        with torch.no_grad():
            gaussians = scene.at(torch.tensor([look.time], device=scene.device))
            arrays = splat_arrays(gaussians)
        self._subject = Subject(gaussians, self._renderer, next(self._numbers))
        whole = (arrays.centers, arrays.covariances, arrays.colors, arrays.opacities)
        with self._server.atomic():
            if self._splats is None:
                self._splats = self._server.scene.add_gaussian_splats("/splats", *whole, scale=1 / MAGNIFIED)
            elif look.shown == "splats":
                self._splats.set_gaussians(*whole)
            if look.shown == "points":
                self._points = self._server.scene.add_point_cloud(
                    "/points",
                    arrays.centers / MAGNIFIED,
                    arrays.colors,
                    point_size=_POINT_SIZE,
                    point_shape="circle",
                    precision="float32",
                )
            elif self._points is not None:
                self._points.visible = False
            self._splats.visible = look.shown == "splats"
        self._drawn = (look.time, look.shown)


def _first_pose(scene: Scene, views: InputViews | None) -> CameraPose:
    """Where visitors start: at the real view, so that it can be compared at once, or in front of the object."""
    if views is not None:
        return views.pose(0, 0)
    cameras = orbit_path(1, elevation_deg=0.0, fovy_deg=FOVY_DEG, distance=viewing_distance(scene), size=1)
    return CameraPose.of(cameras, 0, 0)


def _silence() -> contextlib.redirect_stdout:
    """Keeps what viser prints from the screen."""
    return contextlib.redirect_stdout(io.StringIO())
