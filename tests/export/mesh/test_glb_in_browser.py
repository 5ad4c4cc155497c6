"""Meshes in a real browser, loaded by three.js in the page of viser."""

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

from ds4d.export.mesh import animate_mesh, write_animated_glb, write_skinned_glb
from ds4d.export.mesh.bones import Bones
from ds4d.geometry import project_points
from ds4d.rendering import renderer_for
from ds4d.scene import FOVY_DEG, DynamicGaussians, viewing_distance
from ds4d.types import Cameras
from ds4d.viewer.addresses import choose_port
from ds4d.viewer.camera_poses import CameraPose
from ds4d.visualize import fixed_path

HEIGHT, WIDTH = 320, 1000  # pixels; viser's panel is at the side
TIMEOUT = 60.0  # seconds


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[[Path, float], Callable[[], np.ndarray]]]:
    """Shows a file from the front; returns a function that takes an image of the square in the middle."""
    viser = pytest.importorskip("viser", reason="needs viser (pip install 'ds4d[viewer]')")
    server = viser.ViserServer("127.0.0.1", choose_port("127.0.0.1", None), verbose=False)
    server.scene.set_up_direction("+y")
    server.scene.world_axes.visible = False
    page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})

    def open_at(path: Path, distance: float) -> Callable[[], np.ndarray]:
        pose, start = CameraPose.from_cameras(front(distance), 0, 0), server.initial_camera
        start.position, start.look_at, start.fov = pose.position, (0.0, 0.0, 0.0), math.radians(FOVY_DEG)
        server.scene.add_glb("/mesh", path.read_bytes(), cast_shadow=False, receive_shadow=False)
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        page.get_by_role("alert").get_by_role("button").click()  # a notice about software rendering
        clip = {"x": (WIDTH - HEIGHT) // 2, "y": 0, "width": HEIGHT, "height": HEIGHT}
        return lambda: np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(float)

    yield open_at
    page.close()
    server.stop()


def front(distance: float) -> Cameras:
    return fixed_path(1, azimuth_deg=0.0, elevation_deg=0.0, fovy_deg=FOVY_DEG, distance=distance, size=HEIGHT)


def test_mesh_is_rendered_at_its_position(show: Callable, finished_run: Path, tmp_path: Path) -> None:
    scene = DynamicGaussians.load(finished_run)
    times, distance = torch.tensor(scene.timeline.times)[[scene.timeline.middle]], viewing_distance(scene)
    mesh = animate_mesh(scene, renderer_for("cpu"), times, resolution=64)
    write_animated_glb(tmp_path / "m.glb", mesh.vertices, mesh.triangles, mesh.colors, torch.zeros(1))
    cameras = front(distance)
    pixels, _ = project_points(mesh.vertices[0], cameras[0])
    edges = np.concatenate((pixels[0].amin(0), pixels[0].amax(0)))
    screenshot, deadline, found = show(tmp_path / "m.glb", distance), time.monotonic() + TIMEOUT, np.zeros(4)
    while np.abs(found - edges).max() > 4:  # pixels; nearly white edges are not found
        assert time.monotonic() < deadline, (found, edges)
        rows, columns = np.nonzero((screenshot() < 250).any(-1))
        found = np.array([columns.min(), rows.min(), columns.max(), rows.max()] if len(rows) else [0] * 4)


@pytest.mark.parametrize("skinned", [False, True])
def test_animation_moves_the_mesh(show: Callable, tmp_path: Path, skinned: bool) -> None:
    """A green square that moves from left to right."""
    square = 0.2 * torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    shifts = torch.tensor([[-0.4, 0.0, 0.0], [0.0, 0.0, 0.0], [0.4, 0.0, 0.0]])
    vertices, seconds = square + shifts[:, None], torch.tensor([0.0, 2.0, 4.0])
    triangles, green = torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([0.0, 1.0, 0.0]).expand(4, 3)
    if skinned:
        weights = torch.tensor([1.0, 0, 0, 0]).double().expand(4, 4)
        bone = Bones(
            torch.eye(3).double().expand(3, 1, 3, 3), shifts.double()[:, None], torch.zeros(4, 4).long(), weights
        )
        write_skinned_glb(tmp_path / "m.glb", square, vertices, bone, triangles, green, seconds)
    else:
        write_animated_glb(tmp_path / "m.glb", vertices, triangles, green, seconds)
    screenshot, deadline, centers = show(tmp_path / "m.glb", 2.0), time.monotonic() + TIMEOUT, []
    while len(centers) < 2 or np.ptp(centers) < 0.25 * HEIGHT:
        assert time.monotonic() < deadline, centers
        image = screenshot()
        columns = np.nonzero(image[..., 1] - image[..., 2] > 50)[1]
        centers += [float(columns.mean())] if len(columns) else []
    assert 0.15 * HEIGHT < min(centers) < max(centers) < 0.85 * HEIGHT  # the outermost are at 0.17 and 0.83
