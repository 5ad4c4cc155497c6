"""What browsers send: the page's messages pass, malformed ones do not."""

from types import SimpleNamespace
from typing import Any

import pytest

msgspec = pytest.importorskip("msgspec", reason="needs the extra viewer")

from ds4d.viewer.control_rules import ControlRules, is_color, is_flag, number_in, one_of  # noqa: E402
from ds4d.viewer.messages import FaultyMessageError, check_message  # noqa: E402

NAN, INF = float("nan"), float("inf")
CAMERA = {
    "type": "ViewerCameraMessage", "wxyz": [1, 0, 0, 0], "position": [0.0, 0, 2], "fov": 1.0, "near": 0.01,
    "far": 1000, "image_height": 480, "image_width": 640, "look_at": [0, 0, 0], "up_direction": [0, 1, 0],
}  # fmt: skip
CLICK = {
    "type": "SceneNodeClickMessage", "name": "/cameras/0", "instance_index": None, "ray_origin": [0, 0, 2],
    "ray_direction": [0, 0, -1], "screen_pos": [0.5, 0.5], "modifier": None, "owner": "",
}  # fmt: skip


@pytest.fixture
def rules() -> ControlRules:
    """One control of each kind."""
    rules = ControlRules()
    for name, rule in (
        ("time", number_in(0.0, 1.0)), ("play", is_flag), ("show", one_of(("splats", "depth"))), ("color", is_color),
    ):  # fmt: skip
        rules.add(SimpleNamespace(_impl=SimpleNamespace(uuid=name)), rule)
    return rules


def update(control: str, value: Any, **others: Any) -> dict[str, Any]:
    return {"type": "GuiUpdateMessage", "uuid": control, "updates": {"value": value, **others}}


def passed(message: Any, rules: ControlRules) -> Any:
    checked = check_message(msgspec.msgpack.encode(message), rules)
    return None if checked is None else msgspec.msgpack.decode(checked)


def test_messages_of_the_page_pass_unchanged(rules: ControlRules) -> None:
    messages = [CAMERA, CLICK, update("time", 0.5), update("time", 1), update("play", True), update("show", "depth")]
    for message in [*messages, update("color", [0, 128, 255])]:
        assert passed(message, rules) == message


@pytest.mark.parametrize(
    "changed",
    [
        {"position": []}, {"position": [NAN] * 3}, {"position": [INF, 0, 0]}, {"position": [1e300, 0, 0]},
        {"position": ["a", 0, 0]}, {"position": [[0], 0, 0]}, {"position": [True, 0, 0]}, {"wxyz": []},
        {"wxyz": [0, 0, 0, 0]}, {"wxyz": [1e6, 0, 0, 0]}, {"wxyz": [NAN, 0, 0, 0]}, {"fov": 0}, {"fov": NAN},
        {"fov": -1}, {"fov": 3.2}, {"fov": None}, {"image_height": -1}, {"image_height": 1e9},
        {"image_width": NAN}, {"image_width": "640"}, {"near": INF}, {"far": NAN}, {"look_at": [NAN] * 3},
        {"up_direction": [0, 0]}, {"type": 3}, {"type": None},
    ],
)  # fmt: skip
def test_faulty_cameras_are_refused(changed: dict[str, Any], rules: ControlRules) -> None:
    with pytest.raises(FaultyMessageError):
        passed({**CAMERA, **changed}, rules)


def test_a_camera_without_a_part_is_refused(rules: ControlRules) -> None:
    for name in CAMERA:
        with pytest.raises(FaultyMessageError):
            passed({key: value for key, value in CAMERA.items() if key != name}, rules)


@pytest.mark.parametrize("size", [(0, 640), (480, 0), (0, 0), (1, 1000), (60000, 1)])
def test_windows_that_are_closed_to_a_line_keep_the_last_camera(size: tuple[int, int], rules: ControlRules) -> None:
    assert passed({**CAMERA, "image_height": size[0], "image_width": size[1]}, rules) is None


@pytest.mark.parametrize(
    "message",
    [
        update("time", NAN), update("time", -0.1), update("time", 1.1), update("time", "0.5"), update("time", None),
        update("time", True), update("play", 1), update("show", "everything"), update("show", ["splats"]),
        update("color", [0, 0]), update("color", [0, 0, 256]), update("color", [0.5, 0, 0]), update("color", "red"),
        update("color", [True, 0, 0]), update("time", 0.5, label="<b>"), update("time", 0.5, visible=False),
        {"type": "GuiUpdateMessage", "uuid": "time", "updates": {}},
        {"type": "GuiUpdateMessage", "uuid": "time", "updates": []},
        {"type": "GuiUpdateMessage", "uuid": "time", "updates": {"max": 5}},
        {"type": "GuiUpdateMessage", "uuid": ["time"], "updates": {"value": 0.5}},
    ],
)  # fmt: skip
def test_faulty_values_of_controls_are_refused(message: dict[str, Any], rules: ControlRules) -> None:
    with pytest.raises(FaultyMessageError):
        passed(message, rules)


@pytest.mark.parametrize(
    "message",
    [
        update("gone", 0.5),
        {"type": "ShareUrlRequest"},
        {"type": "FileTransferStartUpload", "source_component_uuid": "x", "size_bytes": 1e12},
        {"type": "Message"},
    ],
)
def test_what_the_viewer_has_no_use_for_is_left_out(message: dict[str, Any], rules: ControlRules) -> None:
    assert passed(message, rules) is None


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x91" * 100_000, b"\x01", b"GET / HTTP/1.1", "{}", b"\xdf\xff\xff\xff\xff"]
)
def test_garbage_is_refused(raw: bytes | str, rules: ControlRules) -> None:
    with pytest.raises(FaultyMessageError):
        check_message(raw, rules)


def test_a_key_that_is_there_twice_has_one_value(rules: ControlRules) -> None:
    """Viser reads what was checked."""
    parts = [b"\x8c", *(msgspec.msgpack.encode(part) for pair in CAMERA.items() for part in pair)]
    parts += [msgspec.msgpack.encode("position"), msgspec.msgpack.encode([1.0, 2.0, 3.0])]
    parts += [msgspec.msgpack.encode("fov"), msgspec.msgpack.encode(0.5)]
    checked = check_message(b"".join(parts), rules)
    assert checked is not None and checked.count(b"position") == 1
    assert msgspec.msgpack.decode(checked) == {**CAMERA, "position": [1.0, 2.0, 3.0], "fov": 0.5}
