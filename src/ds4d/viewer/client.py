"""One connected browser: its camera, the training views' cameras, the input image, and depth maps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ds4d.io import png_bytes
from ds4d.types import Gaussians, Renderer
from ds4d.viewer.camera_poses import CameraPose
from ds4d.viewer.client_images import render_depth, render_image
from ds4d.viewer.control_rules import ControlRules, is_flag, one_of
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.panel import ViewSettings

_FRUSTUM_SIZE = 0.12  # normalized space
_FRUSTUM_LINE = 0.003
_MAX_IMAGE_HEIGHT, _MAX_IMAGE_WIDTH = 1080, 1920  # pixels, of saved images
_POSITION_TOLERANCE = 1e-3  # of the distance from the origin


@dataclass(frozen=True)
class SceneFrame:
    """The scene at the time that all browsers show.

    Attributes:
        gaussians: Gaussians at one time (leading axis 1).
        renderer: renderer for their device.
        number: number that differs for every change.
    """

    gaussians: Gaussians
    renderer: Renderer
    number: int


class Client:
    """What one browser shows beyond the splats that all share.

    Args:
        client: viser's handle of the browser.
        views: training views, or None if they cannot be shown.
        on_change: function called from viser's threads when the user moves the camera or chooses a view.
        rules: rules of the server, to which that of the menu of views is added.
    """

    def __init__(
        self, client: Any, views: InputViews | None, on_change: Callable[[], None], rules: ControlRules
    ) -> None:
        self._client = client
        self._rules = rules
        self._views = views
        self._on_change = on_change
        self._frusta: list[Any] = []
        self._requested_view: int | None = None
        self._current_view: int | None = None  # the view whose camera the browser has
        self._arrived = False  # whether the browser's camera has reached that of the current view
        self._sent: dict[str, Any] = {}  # what the browser was sent last
        self._must_save = False
        self._save_button = client.gui.add_button("save image", icon="camera", hint="the current view as a PNG file")
        rules.add(self._save_button, is_flag)
        self._save_button.on_click(lambda event: self._request_image())
        client.camera.on_update(lambda _: on_change())
        if views is not None:
            self._setup_scene(views)
            self._current_view, self._view_position = 0, views.pose(0, 0).position
        start = replace(self._pose(), aspect=1.0 if views is None else views.pose(0, 0).aspect)
        if client.camera.aspect < start.aspect:
            self._set_field_of_view(start)

    def refresh(self, settings: ViewSettings, frame: SceneFrame) -> None:
        """Updates the browser.

        Args:
            settings: settings of the panel.
            frame: scene at the time of the settings.
        """
        if self._views is not None:
            self._update_views(self._views, settings)
        if self._must_save:
            self._must_save = False
            self._send_image(settings, frame)
        if settings.render_mode == "depth":
            self._show_depth(settings, frame)
        elif self._is_new("background", settings.background):
            image = np.full((1, 1, 3), settings.background, np.uint8)
            self._client.scene.set_background_image(image, format="png")

    def close(self) -> None:
        """Forgets the browser's controls, once it has left."""
        self._rules.remove(self._save_button)
        if self._views is not None:
            self._rules.remove(self._view_menu)

    def _setup_scene(self, views: InputViews) -> None:
        """Adds the cameras to the scene and the image to the panel."""
        self._view_menu = self._client.gui.add_dropdown("input view", views.names, initial_value=views.names[0])
        self._rules.add(self._view_menu, one_of(views.names))
        self._view_menu.on_update(
            lambda event: self._request_view(views.names.index(event.target.value)) if event.client else None
        )
        self._image = self._client.gui.add_image(views.image(0, 0, saliency=False), label="input", format="jpeg")
        for view in range(len(views.names)):
            pose = views.pose(0, view)
            frustum = self._client.scene.add_camera_frustum(
                f"/cameras/{view}",
                math.radians(pose.fovy_deg),
                pose.aspect,
                scale=_FRUSTUM_SIZE,
                thickness=_FRUSTUM_LINE,
                image=views.thumbnail(view),
                wxyz=pose.wxyz,
                position=pose.position,
            )
            frustum.on_click(lambda _, view=view: self._request_view(view))
            self._frusta.append(frustum)

    def _request_image(self) -> None:
        self._must_save = True
        self._on_change()

    def _send_image(self, settings: ViewSettings, frame: SceneFrame) -> None:
        """Lets the browser save a rendering of its view by our own renderer, with view-dependent color."""
        pose = self._pose()
        height = max(
            1, min(int(self._client.camera.image_height), _MAX_IMAGE_HEIGHT, int(_MAX_IMAGE_WIDTH / pose.aspect))
        )
        image = render_image(frame.gaussians, frame.renderer, pose, height=height, background=settings.background)
        name = f"ds4d_{settings.seconds:.2f}s.png"
        self._client.send_file_download(name, png_bytes(image), save_immediately=True)

    def _pose(self) -> CameraPose:
        """The browser's camera."""
        camera = self._client.camera
        return CameraPose(camera.wxyz, camera.position, math.degrees(camera.fov), camera.aspect)

    def _request_view(self, view: int) -> None:
        self._requested_view = view
        self._on_change()

    def _update_views(self, views: InputViews, settings: ViewSettings) -> None:
        index = views.frame_at(settings.time)
        if views.has_moving_cameras and self._is_new("poses", index):
            for view, frustum in enumerate(self._frusta):
                pose = views.pose(index, view)
                frustum.wxyz, frustum.position = pose.wxyz, pose.position
        requested, self._requested_view = self._requested_view, None
        if requested is not None:
            self._view_menu.value = views.names[requested]
            self._set_camera(requested, views.pose(index, requested))
        elif self._current_view is not None:
            self._check_camera_moved()
        if self._is_new("frusta", (settings.cameras, self._current_view)):
            for view, frustum in enumerate(self._frusta):
                frustum.visible = settings.cameras and view != self._current_view
        view = views.names.index(self._view_menu.value)
        if self._is_new("image", (index, view, settings.saliency)):
            self._image.image = views.image(index, view, saliency=settings.saliency)

    def _set_camera(self, view: int, pose: CameraPose) -> None:
        camera = self._client.camera
        with self._client.atomic():
            camera.position = pose.position
            camera.wxyz = pose.wxyz
            camera.look_at = pose.target
            self._set_field_of_view(pose)
        self._current_view, self._view_position, self._arrived = view, pose.position, False

    def _set_field_of_view(self, pose: CameraPose) -> None:
        """That of a view, or a larger one where the window is narrower than its image."""
        self._client.camera.fov = math.radians(pose.fovy_in(self._client.camera.aspect))

    def _check_camera_moved(self) -> None:
        """The frustum of the current view is hidden until the browser's camera moves away from it."""
        distance = np.linalg.norm(self._client.camera.position - self._view_position)
        if distance <= _POSITION_TOLERANCE * np.linalg.norm(self._view_position):
            self._arrived = True
        elif self._arrived:
            self._current_view = None

    def _show_depth(self, settings: ViewSettings, frame: SceneFrame) -> None:
        camera, pose = self._client.camera, self._pose()
        shown = (
            frame.number,
            settings.background,
            *pose.wxyz,
            *pose.position,
            pose.fovy_deg,
            pose.aspect,
            camera.image_height,
        )
        if self._is_new("background", shown):
            image = render_depth(
                frame.gaussians, frame.renderer, pose, height=int(camera.image_height), background=settings.background
            )
            self._client.scene.set_background_image(image, format="jpeg")

    def _is_new(self, key: str, value: Any) -> bool:
        """Whether the browser was sent another value last; records this one as sent."""
        if self._sent.get(key) == value:
            return False
        self._sent[key] = value
        return True
