"""One browser: where it looks from, and what it alone sees."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ds4d.types import Gaussians, Renderer
from ds4d.viewer.camera_poses import CameraPose
from ds4d.viewer.depth_images import draw_depth
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.panel import Look


@dataclass(frozen=True)
class Subject:
    """What stands before all visitors.

    Attributes:
        gaussians: of one time (leading axis 1).
        renderer: the splatter for their device.
        number: another for every change.
    """

    gaussians: Gaussians
    renderer: Renderer
    number: int


_FRUSTUM_SIZE = 0.12  # inner units
_FRUSTUM_LINE = 0.003
_SAME_PLACE = 1e-3  # of the distance from the origin


class Visitor:
    """The cameras of the input, its image, and the background of one connected browser.

    Args:
        client: viser's.
        views: the input, if it can be shown.
        on_change: called from viser's threads when the visitor has moved or chosen something.
    """

    def __init__(self, client: Any, views: InputViews | None, on_change: Callable[[], None]) -> None:
        self._client = client
        self._views = views
        self._on_change = on_change
        self._frusta: list[Any] = []
        self._wanted: int | None = None
        self._through: int | None = None  # the view that is looked through
        self._arrived = False
        self._has: dict[str, Any] = {}  # what the browser was sent last
        client.camera.on_update(lambda _: on_change())
        if views is not None:
            self._furnish(views)
            self._through, self._place_of_view = 0, views.pose(0, 0).position

    def refresh(self, look: Look, subject: Subject) -> None:
        """Brings the browser up to date."""
        if self._views is not None:
            self._place(self._views, look)
        if look.shown == "depth":
            self._show_depth(look, subject)
        elif self._is_new("background", look.background):
            self._client.scene.set_background_image(np.full((1, 1, 3), look.background, np.uint8), format="png")

    def _furnish(self, views: InputViews) -> None:
        """Puts the cameras into the scene and the image into the panel."""
        self._choice = self._client.gui.add_dropdown("input view", views.names, initial_value=views.names[0])
        self._choice.on_update(
            lambda event: self._want(views.names.index(event.target.value)) if event.client else None
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
            frustum.on_click(lambda _, view=view: self._want(view))
            self._frusta.append(frustum)

    def _want(self, view: int) -> None:
        self._wanted = view
        self._on_change()

    def _place(self, views: InputViews, look: Look) -> None:
        frame = views.frame_at(look.time)
        if views.moves and self._is_new("poses", frame):
            for view, frustum in enumerate(self._frusta):
                pose = views.pose(frame, view)
                frustum.wxyz, frustum.position = pose.wxyz, pose.position
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._choice.value = views.names[wanted]
            self._look_through(wanted, views.pose(frame, wanted))
        elif self._through is not None:
            self._notice_leaving()
        if self._is_new("frusta", (look.cameras, self._through)):
            for view, frustum in enumerate(self._frusta):
                frustum.visible = look.cameras and view != self._through
        view = views.names.index(self._choice.value)
        if self._is_new("image", (frame, view, look.saliency)):
            self._image.image = views.image(frame, view, saliency=look.saliency)

    def _look_through(self, view: int, pose: CameraPose) -> None:
        camera = self._client.camera
        with self._client.atomic():
            camera.position = pose.position
            camera.wxyz = pose.wxyz
            camera.look_at = pose.target
            camera.fov = math.radians(pose.fovy_deg)
        self._through, self._place_of_view, self._arrived = view, pose.position, False

    def _notice_leaving(self) -> None:
        """The camera that is looked through hides; it comes back when the visitor has moved away from it."""
        distance = np.linalg.norm(self._client.camera.position - self._place_of_view)
        near = distance <= _SAME_PLACE * np.linalg.norm(self._place_of_view)
        if near:
            self._arrived = True
        elif self._arrived:
            self._through = None

    def _show_depth(self, look: Look, subject: Subject) -> None:
        camera = self._client.camera
        pose = CameraPose(camera.wxyz, camera.position, math.degrees(camera.fov), camera.aspect)
        seen = (
            subject.number,
            look.background,
            *pose.wxyz,
            *pose.position,
            pose.fovy_deg,
            pose.aspect,
            camera.image_height,
        )
        if self._is_new("background", seen):
            image = draw_depth(
                subject.gaussians, subject.renderer, pose, height=camera.image_height, background=look.background
            )
            self._client.scene.set_background_image(image, format="jpeg")

    def _is_new(self, what: str, value: Any) -> bool:
        """Whether the browser has not been sent this yet; from now on it has."""
        if self._has.get(what) == value:
            return False
        self._has[what] = value
        return True
