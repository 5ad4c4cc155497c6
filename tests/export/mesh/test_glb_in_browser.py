"""Meshes in a real browser, by three.js' loader in viser's page: they are drawn, and move."""

import math
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ds4d.export.mesh import animate_mesh, write_animated_glb
from ds4d.geometry import project_points
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, DynamicGaussians, viewing_distance
from ds4d.types import Cameras
from ds4d.viewer.addresses import choose_port
from ds4d.viewer.camera_poses import CameraPose
from ds4d.visualize import fixed_path

HEIGHT, WIDTH = 320, 1000  # pixels; viser's panel stands at the side
PATIENCE = 60.0  # seconds until something that does not happen is a failure


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[[Path, float], Callable[[], np.ndarray]]]:
    """Shows a file from in front; what it gives back takes an image of the square in the middle."""
    viser = pytest.importorskip("viser", reason="needs viser (pip install '.[viewer]')")
    server = viser.ViserServer("127.0.0.1", choose_port("127.0.0.1", None), verbose=False)
    server.scene.set_up_direction("+y")
    server.scene.world_axes.visible = False
    page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})

    def open_at(path: Path, distance: float) -> Callable[[], np.ndarray]:
        pose, start = CameraPose.from_cameras(front(distance), 0, 0), server.initial_camera
        start.position, start.look_at, start.fov = pose.position, (0.0, 0.0, 0.0), math.radians(FOVY_DEG)
        server.scene.add_glb("/mesh", path.read_bytes(), cast_shadow=False, receive_shadow=False)
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        page.get_by_role("alert").get_by_role("button").click()  # viser's word on software rendering
        clip = {"x": (WIDTH - HEIGHT) // 2, "y": 0, "width": HEIGHT, "height": HEIGHT}
        return lambda: np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(float)

    yield open_at
    page.close()
    server.stop()


def front(distance: float) -> Cameras:
    return fixed_path(1, azimuth_deg=0.0, elevation_deg=0.0, fovy_deg=FOVY_DEG, distance=distance, size=HEIGHT)


def test_a_runs_mesh_is_drawn_where_it_is(show: Callable, finished_run: Path, tmp_path: Path) -> None:
    scene = DynamicGaussians.load(finished_run)
    times, distance = torch.tensor(scene.timeline.times)[[scene.timeline.middle]], viewing_distance(scene)
    mesh = animate_mesh(scene, renderer_for("cpu"), times, resolution=64)
    write_animated_glb(tmp_path / "m.glb", mesh.vertices, mesh.triangles, mesh.colors, torch.zeros(1))
    cameras = front(distance)
    places, _ = project_points(mesh.vertices[0], cameras[0])
    edges = np.concatenate((places[0].amin(0), places[0].amax(0)))
    look, deadline, drawn = show(tmp_path / "m.glb", distance), time.monotonic() + PATIENCE, np.zeros(4)
    while np.abs(drawn - edges).max() > 4:  # pixels; what is nearly white at an edge is not seen
        assert time.monotonic() < deadline, (drawn, edges)
        rows, columns = np.nonzero((look() < 250).any(-1))
        drawn = np.array([columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else [0] * 4)


def test_time_moves_a_mesh(show: Callable, tmp_path: Path) -> None:
    """A green square that goes from the left to the right."""
    square = 0.2 * torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    places = square + torch.tensor([[-0.4, 0.0, 0.0], [0.0, 0.0, 0.0], [0.4, 0.0, 0.0]])[:, None]
    triangles, green = torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([0.0, 1.0, 0.0]).expand(4, 3)
    write_animated_glb(tmp_path / "m.glb", places, triangles, green, torch.tensor([0.0, 2.0, 4.0]))
    look, deadline, middles = show(tmp_path / "m.glb", 2.0), time.monotonic() + PATIENCE, []
    while len(middles) < 2 or np.ptp(middles) < 0.25 * HEIGHT:
        assert time.monotonic() < deadline, middles
        image = look()
        columns = np.nonzero(image[..., 1] - image[..., 2] > 50)[1]
        middles += [float(columns.mean())] if len(columns) else []
    assert 0.2 * HEIGHT < min(middles) < max(middles) < 0.8 * HEIGHT
