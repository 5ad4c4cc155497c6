"""A viewer without a browser: what it offers for which object, where it listens, and that it keeps to itself."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.scene import BakedGaussians, DynamicGaussians, Timeline
from ds4d.types import RawGaussians, Similarity
from ds4d.viewer import OpenedRun, Viewer
from ds4d.viewer.fit_watch import PreviewTimes
from ds4d.viewer.input_views import InputViews


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    """One that shows nothing yet."""
    viewer = Viewer()
    yield viewer
    viewer.close()


def visible_controls(viewer: Viewer) -> set[str]:
    handles = vars(viewer.panel).items()
    return {name.strip("_") for name, handle in handles if getattr(handle, "visible", False)}


def test_only_what_makes_sense_is_offered(viewer: Viewer, opened: OpenedRun, tiny_gaussians: RawGaussians) -> None:
    viewer.show(opened.scene, opened.views)
    assert visible_controls(viewer) == {"time", "playing", "speed", "shown", "background", "cameras", "heat"}
    viewer.show(opened.scene, None)
    assert visible_controls(viewer) == {"time", "playing", "speed", "shown", "background"}
    still = BakedGaussians(
        tiny_gaussians.expand_times(1), Timeline((0.0,), 1.0, False), Similarity(1.0, torch.eye(3), torch.zeros(3))
    )
    viewer.show(still, None)
    assert visible_controls(viewer) == {"shown", "background"}


def test_it_says_nothing_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    viewer = Viewer()
    viewer.close()
    assert capsys.readouterr() == ("", "")


def test_two_viewers_stand_side_by_side(viewer: Viewer) -> None:
    other = Viewer()
    try:
        assert other.port > viewer.port
    finally:
        other.close()
    assert viewer.address[0] == f"open http://127.0.0.1:{viewer.port}"


def test_only_this_machine_can_look(viewer: Viewer) -> None:
    """Another of its addresses answers nobody."""
    with socket.create_connection(("127.0.0.1", viewer.port)):
        pass
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", viewer.port)):
        pass


def test_it_cannot_be_published(viewer: Viewer) -> None:
    """Viser's own way out, which would ask a server of its makers."""
    assert viewer._server.request_share_url() is None
    assert viewer._server._share_tunnel is None


def test_cameras_that_move_are_followed(opened: OpenedRun) -> None:
    video = opened.views.video
    turned = video.cameras.viewmats.clone()
    turned[3, 0] = video.cameras.viewmats[3, 2]
    moving = InputViews(replace(video, cameras=replace(video.cameras, viewmats=turned)))
    assert moving.moves and not opened.views.moves
    assert (moving.pose(3, 0).position == opened.views.pose(0, 2).position).all()
    assert (moving.pose(2, 0).position == opened.views.pose(0, 0).position).all()


def test_images_take_little_of_a_fits_time() -> None:
    assert 0 < PreviewTimes()._share <= 0.05


def test_a_scene_of_its_own_needs_no_input(viewer: Viewer, finished_run: Path) -> None:
    viewer.show(DynamicGaussians.load(finished_run), None)
    viewer.refresh()
    assert not viewer.has_visitors
