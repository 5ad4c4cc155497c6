"""Visitors who mean harm, against a viewer and against a running fit."""

import contextlib
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("viser", reason="needs the extra viewer")

import msgspec
import viser
import websockets.exceptions
import websockets.sync.client as client

from ds4d.config import GenerateConfig
from ds4d.core import Warned, notices_to
from ds4d.pipeline import Finished, TrainingStarted, iter_run
from ds4d.training import StepDone
from ds4d.viewer import LiveViewer, OpenedRun, Viewer
from ds4d.viewer.client import Client
from ds4d.viewer.live import UpdateSchedule

TIMEOUT = 60.0  # seconds
CAMERA = {
    "type": "ViewerCameraMessage", "wxyz": [1.0, 0, 0, 0], "position": [0.0, 0, 2], "fov": 1.0, "near": 0.1,
    "far": 100.0, "image_height": 48, "image_width": 48, "look_at": [0.0, 0, 0], "up_direction": [0.0, 1, 0],
}  # fmt: skip
FAULTY = {
    "no position": {**CAMERA, "position": []},
    "NaN": {**CAMERA, "position": [float("nan")] * 3},
    "no field of view": {**CAMERA, "fov": 0.0},
    "no orientation": {**CAMERA, "wxyz": []},
    "no object": [1, 2, 3],
    "any property": {"type": "GuiUpdateMessage", "uuid": "any", "updates": 3},
}


def connect(viewer: Viewer, host: str = "127.0.0.1", **headers: Any) -> client.ClientConnection:
    """A raw websocket that presents itself as viser's page."""
    return client.connect(
        f"ws://{host}:{viewer.port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None, **headers
    )


def send(connection: client.ClientConnection, message: Any) -> None:
    connection.send(msgspec.msgpack.encode(message))


def read_until_closed(connection: client.ClientConnection) -> int | None:
    """Reads until the server closes; returns the close code."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            connection.recv(timeout=1)
        except TimeoutError:
            continue
        except websockets.exceptions.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
    raise AssertionError("the connection stays open")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def visitor(viewer: Viewer) -> Iterator[client.ClientConnection]:
    """A connected visitor with a usable camera."""
    with connect(viewer) as connection:
        send(connection, CAMERA)
        wait_for(lambda: viewer.has_clients)
        yield connection


def status(viewer: Viewer, target: str = "/", **headers: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{viewer.port}{target}", headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_pages_of_others_cannot_connect(viewer: Viewer, origin: str) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(viewer, origin=origin)
    assert refused.value.response.status_code == 403
    with connect(viewer, origin=f"http://127.0.0.1:{viewer.port}"):
        pass


def test_names_of_others_cannot_be_made_to_lead_here(viewer: Viewer) -> None:
    """DNS rebinding: page and websocket come with the attacker's name."""
    evil = f"evil.example:{viewer.port}"
    assert (status(viewer, Host=evil), status(viewer)) == (403, 200)
    with pytest.raises(websockets.exceptions.InvalidStatus):
        client.connect(
            f"ws://evil.example:{viewer.port}", sock=_socket(viewer), origin=f"http://{evil}",
            subprotocols=[f"viser-v{viser.__version__}"],
        )  # fmt: skip


def _socket(viewer: Viewer) -> Any:
    return socket.create_connection(("127.0.0.1", viewer.port))


def test_endless_paths_are_no_error_of_the_server(viewer: Viewer) -> None:
    assert status(viewer, "/" + 6000 * "a") == 403


def test_pages_of_another_viser_are_refused_silently(viewer: Viewer, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus):
        client.connect(f"ws://127.0.0.1:{viewer.port}", subprotocols=["viser-v0.0.1"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_visitor_is_dropped_and_the_others_stay(
    viewer: Viewer, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with visitor(viewer) as good, connect(viewer) as bad:
        send(bad, CAMERA)
        send(bad, FAULTY[name])
        assert read_until_closed(bad) == 1008
        send(good, {**CAMERA, "position": [0.0, 0, 3]})
        assert good.recv(timeout=TIMEOUT)
    assert capfd.readouterr() == ("", "")


def test_garbage_closes_its_connection_alone(viewer: Viewer, capfd: pytest.CaptureFixture[str]) -> None:
    with visitor(viewer) as good:
        for raw in (b"\xc1", b"\x91" * 100_000, "text", b"x" * (2**20 + 1)):
            with connect(viewer) as bad:
                bad.send(raw)
                assert read_until_closed(bad) in (1008, 1009)
        with _socket(viewer) as raw_socket:
            raw_socket.sendall(b"\x16\x03\x01 no HTTP \r\n\r\n")
            raw_socket.settimeout(TIMEOUT)
            while raw_socket.recv(4096):
                pass
        send(good, CAMERA)
        assert good.recv(timeout=TIMEOUT)
    assert capfd.readouterr() == ("", "")


def test_faulty_values_reach_no_control(viewer: Viewer) -> None:
    control = viewer.panel._time
    for updates in ({"value": 7.0}, {"value": float("nan")}, {"max": 5.0}, {"visible": False}):
        with connect(viewer) as bad:
            send(bad, CAMERA)
            send(bad, {"type": "GuiUpdateMessage", "uuid": control._impl.uuid, "updates": updates})
            assert read_until_closed(bad) == 1008
    assert (control.value, control.max, control.visible) == (0.0, 1.0, True)


def test_a_visitor_without_end_has_to_wait(viewer: Viewer) -> None:
    """The connection is throttled: what it sends is read at a limited rate, 100 messages and 100 more per second.

    A ping is answered when all before it has been read but for a short queue, whatever the buffers on the way hold. The
    time is a least one: on a busy machine it is longer.
    """
    with connect(viewer, max_queue=None) as flood, visitor(viewer) as good:
        began = time.monotonic()
        raw = msgspec.msgpack.encode({"type": "ShareUrlRequest", "padding": "x" * 100_000})
        for _ in range(200):
            flood.send(raw)
        assert flood.ping().wait(TIMEOUT)
        assert time.monotonic() - began > 0.5
        send(good, CAMERA)
        assert good.recv(timeout=TIMEOUT)


def test_a_browser_that_cannot_be_updated_is_dropped(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the error is: the thread that drives the viewer goes on."""

    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, connect(viewer) as bad:
        patch.setattr(Client, "refresh", fail)
        send(bad, CAMERA)
        assert read_until_closed(bad) == 1011
    with visitor(viewer) as good:
        assert good.recv(timeout=TIMEOUT)


def test_a_token_is_needed_if_there_is_one(opened: OpenedRun) -> None:
    viewer = Viewer(token="s3cret")
    try:
        assert viewer.address[0].endswith(f":{viewer.port}/?token=s3cret")
        assert (status(viewer), status(viewer, "/?token=wrong"), status(viewer, "/?token=s3cret")) == (403, 403, 200)
        with pytest.raises(websockets.exceptions.InvalidStatus):
            connect(viewer)
        cookie = viewer._guard._access.cookie.partition(";")[0]
        with connect(viewer, additional_headers={"Cookie": cookie}):
            pass
    finally:
        viewer.close()


def test_a_browser_shows_a_viewer_with_a_token(chromium: Any, opened: OpenedRun) -> None:
    viewer = Viewer(token="s3cret")
    page = chromium.new_context().new_page()
    try:
        viewer.show(opened.scene, opened.views)
        assert page.goto(f"http://127.0.0.1:{viewer.port}").status == 403
        page.goto(f"http://127.0.0.1:{viewer.port}/?token=s3cret")
        _drive_until(viewer, page, lambda: viewer.has_clients)
    finally:
        page.close()
        viewer.close()


def test_a_page_of_another_site_gets_nothing(chromium: Any, viewer: Viewer) -> None:
    """A real browser, with the attacker's page on another origin."""
    page = chromium.new_page()
    try:
        page.route("http://evil.example/", lambda route: route.fulfill(body="<p>hello", content_type="text/html"))
        page.goto("http://evil.example/")
        outcome = page.evaluate(
            """([port, protocol]) => new Promise(resolve => {
                const socket = new WebSocket(`ws://127.0.0.1:${port}`, [protocol]);
                socket.onopen = () => resolve("open");
                socket.onerror = () => resolve("refused");
            })""",
            [viewer.port, f"viser-v{viser.__version__}"],
        )
    finally:
        page.close()
    assert outcome == "refused"


def test_a_browser_goes_on_beside_a_hostile_visitor(browser: Any, viewer: Viewer) -> None:
    assert np.ptp(browser.wait_for(lambda image: np.ptp(image) > 150)) > 150
    for message in FAULTY.values():
        with connect(viewer) as bad:
            send(bad, CAMERA)
            send(bad, message)
            assert read_until_closed(bad) == 1008
    assert browser.slide_time(0.4) == pytest.approx(0.4, abs=0.03)
    browser.page.set_viewport_size({"width": 900, "height": 1})  # a window that is closed to a line
    browser.page.wait_for_timeout(300)
    browser.page.set_viewport_size({"width": 900, "height": 480})
    assert browser.slide_time(0.0) == 0


def _drive_until(viewer: Viewer, page: Any, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition() and time.monotonic() < deadline:
        viewer.refresh()
        page.wait_for_timeout(50)
    assert condition()


@pytest.fixture
def short(quick_config: GenerateConfig) -> GenerateConfig:
    """Twelve steps, and small outputs."""
    return replace(
        quick_config,
        training=replace(quick_config.training, static_steps=6, dynamic_steps=6),
        outputs=replace(quick_config.outputs, size=16, seconds=0.2, sheet_columns=1, sheet_size=16),
    )


def test_a_fit_ends_as_without_its_hostile_visitors(sample_folder: Path, short: GenerateConfig, tmp_path: Path) -> None:
    list(iter_run(sample_folder, tmp_path / "alone", config=short, device="cpu"))
    viewer = Viewer()
    live = LiveViewer(viewer)
    live._schedule = UpdateSchedule(interval=0.0, max_fraction=1e9)  # an update after every step
    try:
        with contextlib.ExitStack() as visitors:
            last = None
            for last in iter_run(sample_folder, tmp_path / "watched", config=short, device="cpu"):
                if isinstance(last, TrainingStarted | StepDone):
                    bad = visitors.enter_context(connect(viewer))
                    send(bad, CAMERA)
                    send(bad, list(FAULTY.values())[getattr(last, "step", 0) % len(FAULTY)])
                live.on_event(last)
            assert isinstance(last, Finished)
    finally:
        viewer.close()
    names = ("scene.safetensors", "baked.safetensors")
    alone, watched = ([(tmp_path / run / name).read_bytes() for name in names] for run in ("alone", "watched"))
    assert alone == watched


def test_a_fit_goes_on_without_a_viewer_that_fails(
    sample_folder: Path, short: GenerateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = Viewer()
    live, calls = LiveViewer(viewer), []

    def fail(*arguments: Any) -> None:
        calls.append(arguments)
        raise RuntimeError("no memory for the viewer")

    monkeypatch.setattr(viewer, "show", fail)
    events = iter_run(sample_folder, tmp_path / "run", config=short, device="cpu")
    try:
        with notices_to((notices := []).append):
            for event in events:
                live.on_event(event)
    finally:
        viewer.close()
    assert len(calls) == 1 and [type(notice) for notice in notices] == [Warned] and notices[0].part == "viewer"
