"""A viewer without a browser: controls, ports and network access."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.scene import BakedGaussians, DynamicGaussians, Timeline
from ds4d.types import RawGaussians, Similarity
from ds4d.viewer import OpenedRun, Viewer
from ds4d.viewer.input_views import InputViews
from ds4d.viewer.live import UpdateSchedule


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    """A viewer that shows nothing yet."""
    viewer = Viewer()
    yield viewer
    viewer.close()


def visible_controls(viewer: Viewer) -> set[str]:
    handles = vars(viewer.panel).items()
    return {name.strip("_") for name, handle in handles if getattr(handle, "visible", False)}


def test_only_applicable_controls_are_visible(viewer: Viewer, opened: OpenedRun, tiny_gaussians: RawGaussians) -> None:
    viewer.show(opened.scene, opened.views)
    assert visible_controls(viewer) == {
        "time",
        "play",
        "clock",
        "speed",
        "render_mode",
        "background",
        "cameras",
        "saliency",
    }
    viewer.show(opened.scene, None)
    assert visible_controls(viewer) == {"time", "play", "clock", "speed", "render_mode", "background"}
    still = BakedGaussians(
        tiny_gaussians.expand_times(1), Timeline((0.0,), 1.0, False), Similarity(1.0, torch.eye(3), torch.zeros(3))
    )
    viewer.show(still, None)
    assert visible_controls(viewer) == {"render_mode", "background"}


def test_viser_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    viewer = Viewer()
    viewer.close()
    assert capsys.readouterr() == ("", "")


def test_two_viewers_have_different_ports(viewer: Viewer) -> None:
    other = Viewer()
    try:
        assert other.port != viewer.port
    finally:
        other.close()
    assert viewer.address[0] == f"open http://127.0.0.1:{viewer.port}"


def test_only_this_machine_can_connect(viewer: Viewer) -> None:
    """Another of its addresses refuses connections."""
    with socket.create_connection(("127.0.0.1", viewer.port)):
        pass
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", viewer.port)):
        pass


def test_viser_cannot_publish_the_server(viewer: Viewer) -> None:
    """Viser's share URL would go through a server of its makers."""
    assert viewer._server.request_share_url() is None
    assert viewer._server._share_tunnel is None


def test_moving_cameras_have_a_pose_per_frame(opened: OpenedRun) -> None:
    video = opened.views.video
    moved = video.cameras.viewmats.clone()
    moved[3, 0] = video.cameras.viewmats[3, 2]
    moving = InputViews(replace(video, cameras=replace(video.cameras, viewmats=moved)))
    assert moving.has_moving_cameras and not opened.views.has_moving_cameras
    assert (moving.pose(3, 0).position == opened.views.pose(0, 2).position).all()
    assert (moving.pose(2, 0).position == opened.views.pose(0, 0).position).all()


def test_updates_take_little_of_the_training_time() -> None:
    assert 0 < UpdateSchedule()._max_fraction <= 0.05


def test_a_scene_without_its_input_can_be_shown(viewer: Viewer, finished_run: Path) -> None:
    viewer.show(DynamicGaussians.load(finished_run), None)
    viewer.refresh()
    assert not viewer.has_clients
