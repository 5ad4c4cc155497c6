"""Hostile visitors of the viewer."""

import contextlib
import os
import socket
import threading
import time
from random import Random
from typing import Any

import msgspec
import torch
import viser
import websockets.exceptions
import websockets.sync.client as client
from harness import Bench

from ds4d.viewer import Viewer
from ds4d.viewer.opened_run import open_run

PATIENCE = 30.0  # seconds
CAMERA: dict[str, Any] = {
    "type": "ViewerCameraMessage", "wxyz": [1.0, 0.0, 0.0, 0.0], "position": [0.0, 0.0, 2.0], "fov": 1.0, "near": 0.1,
    "far": 100.0, "image_height": 48, "image_width": 48, "look_at": [0.0, 0.0, 0.0], "up_direction": [0.0, 1.0, 0.0],
}  # fmt: skip
HOSTILE = [
    None, True, -1, 0, 2**63 - 1, 1e308, float("nan"), float("inf"), -0.0, 1e-320, "", "x" * 5000, b"\0" * 99, [], {},
    [[]],
    [float("nan")] * 3, [1e308] * 3, [0.0] * 4, [0.0] * 100, "\x1b]0;x\x07", {"a": {"a": {}}},
]  # fmt: skip
TYPES = [
    "ViewerCameraMessage", "GuiUpdateMessage", "SceneNodeClickMessage", "ShareUrlRequest", "FileTransferStart",
    "FileTransferPart",
    "TransformControlsUpdateMessage", "RunJavascriptMessage", "GetRenderResponseMessage", "NotThere", "", "__class__",
]  # fmt: skip


def _hostile_message(random: Random, controls: list[str]) -> bytes:
    way = random.randrange(6)
    message: Any = dict(CAMERA)
    if way <= 1:
        for key in random.sample(sorted(message), random.choice([1, 1, 2, 4])):
            message[key] = random.choice(HOSTILE)
    elif way == 2:
        message = {"type": random.choice(TYPES), "uuid": random.choice([*controls, "x"]), "updates": {"value": 0}}
        message[random.choice(["uuid", "updates", "type", "more"])] = random.choice(HOSTILE)
    elif way == 3:
        update = {random.choice(["value", "max", "visible", "options", "x"]): random.choice(HOSTILE)}
        message = {"type": "GuiUpdateMessage", "uuid": random.choice(controls), "updates": update}
    elif way == 4:
        return random.randbytes(random.choice([1, 10, 1000, 2**20 + 1]))
    else:
        packed = bytearray(msgspec.msgpack.encode(message))
        for _ in range(random.choice([1, 3])):
            packed[random.randrange(len(packed))] = random.randrange(256)
        return bytes(packed)
    return msgspec.msgpack.encode(message)


def _connect(viewer: Viewer, **headers: Any) -> client.ClientConnection:
    return client.connect(
        f"ws://127.0.0.1:{viewer.port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None, **headers
    )


def _answers(connection: client.ClientConnection) -> bool:
    """Whether a well-behaved visitor still gets something."""
    connection.send(msgspec.msgpack.encode(CAMERA))
    return bool(connection.recv(timeout=PATIENCE))


def attack_viewer(bench: Bench, random: Random, number: int) -> None:
    """A hostile visitor beside a good one, who must still be served, by the same viewer."""
    opened = open_run(bench.run, torch.device("cpu"))
    viewer = Viewer()
    viewer.show(opened.scene, opened.views)
    errors: list[BaseException] = []
    ended = threading.Event()

    def drive() -> None:
        try:
            while not ended.is_set():
                viewer.refresh()
                viewer.wait()
        except BaseException as error:
            errors.append(error)

    threading.Thread(target=drive, daemon=True).start()
    with _connect(viewer) as good:
        assert _answers(good)
        if number % 4 == 0:
            _break_protocol(viewer, random)
        else:
            controls = [handle._impl.uuid for handle in vars(viewer.panel).values() if hasattr(handle, "_impl")] or [
                "x"
            ]
            with _connect(viewer) as bad, contextlib.suppress(websockets.exceptions.ConnectionClosed, OSError):
                bad.send(msgspec.msgpack.encode(CAMERA))
                for _ in range(5):
                    bad.send(_hostile_message(random, controls))
                time.sleep(0.1)
        assert _answers(good), "the other visitor gets nothing any more"
    assert not errors, f"the viewer ended: {errors[0]!r}"
    os._exit(0)  # without waiting for viser's threads


def _break_protocol(viewer: Viewer, random: Random) -> None:
    """Foreign pages, foreign names, and bytes that are no HTTP."""
    way = random.randrange(4)
    if way == 0:
        origin = random.choice(["https://evil.example", "null", "http://localhost:1", "file://", "http://127.0.0.1"])
        try:
            _connect(viewer, origin=origin)
        except websockets.exceptions.InvalidStatus:
            return
        raise AssertionError(f"a page of {origin} may connect")
    name = random.choice(["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a" * 5000, "[::1"])
    target = random.choice(["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/" + "a" * 6000, "//x", "/\0", "*"])
    host = name if way == 1 else f"127.0.0.1:{viewer.port}"
    request = f"GET {target if way == 2 else '/'} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", viewer.port), timeout=PATIENCE) as raw:
        raw.sendall(request if way < 3 else random.randbytes(random.choice([1, 100, 70_000])) + b"\r\n\r\n")
        if way == 3:
            raw.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(OSError):
            while piece := raw.recv(65536):
                answer += piece
    assert b"root:" not in answer, "a file of the machine was served"
    if way == 1:
        assert b" 200 " not in answer[:20], f"the page was served under the name {name[:50]!r}"
