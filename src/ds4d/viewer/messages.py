"""What browsers send: checked before viser gets it.

Viser takes over what it is sent as it is: any shape, NaN, any property of a control. Here a message is passed on if it
is one that the viewer's page sends and its values are finite and in range; it is left out if the viewer has no use for
it, and the browser is dropped if it is malformed.
"""

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ds4d.viewer.control_rules import ControlRules

MAX_BYTES = 2**20  # of one message; a page's are far smaller
_MAX_ASPECT = 20.0  # width to height of a window, or height to width

_Number = Annotated[float, Meta(ge=-1e9, le=1e9)]  # neither NaN nor Inf
_Vector = tuple[_Number, _Number, _Number]
_Pixels = Annotated[float, Meta(ge=0, le=65535)]
_Text = Annotated[str, Meta(max_length=1000)]


class FaultyMessageError(ValueError):
    """A message that no page of the viewer sends."""


class _Camera(msgspec.Struct):
    wxyz: tuple[_Number, _Number, _Number, _Number]
    position: _Vector
    fov: Annotated[float, Meta(gt=0.0, lt=math.pi)]
    near: _Number
    far: _Number
    image_height: _Pixels
    image_width: _Pixels
    look_at: _Vector
    up_direction: _Vector


class _ControlUpdate(msgspec.Struct):
    uuid: _Text
    updates: dict[str, Any]


class _Click(msgspec.Struct):
    name: _Text
    instance_index: int | None
    ray_origin: _Vector
    ray_direction: _Vector
    screen_pos: tuple[_Number, _Number]


_KNOWN = {"ViewerCameraMessage": _Camera, "GuiUpdateMessage": _ControlUpdate, "SceneNodeClickMessage": _Click}


def check_message(raw: bytes | str, rules: ControlRules) -> bytes | None:
    """A message as viser may have it, or None if it is left out.

    Args:
        raw: message as it was received.
        rules: controls that browsers may change.

    Raises:
        FaultyMessageError: it is malformed, or a value is not finite or out of range.
    """
    if isinstance(raw, str):
        raise FaultyMessageError("a message must be binary, got text")
    try:
        content = msgspec.msgpack.decode(raw)
        kind = content.get("type") if isinstance(content, dict) else None
        if not isinstance(kind, str):
            raise FaultyMessageError("a message must be an object with a type")
        if kind not in _KNOWN:
            return None
        message = msgspec.convert(content, _KNOWN[kind])
        # Encoded anew, so that a key that is there twice cannot be read in two ways.
        return msgspec.msgpack.encode(content) if _is_useful(message, rules) else None
    except FaultyMessageError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise FaultyMessageError(f"a message must have the form that viser's page gives it: {error}") from error


def _is_useful(message: _Camera | _ControlUpdate | _Click, rules: ControlRules) -> bool:
    if isinstance(message, _Camera):
        if not 0.5 < math.hypot(*message.wxyz) < 2:
            raise FaultyMessageError("a camera's quaternion must have length 1")
        # A window may be closed to a line; the camera stays what it was before.
        width, height = message.image_width, message.image_height
        return min(width, height) >= 1 and max(width / height, height / width) <= _MAX_ASPECT
    if isinstance(message, _ControlUpdate):
        rule = rules.rule_of(message.uuid)
        if rule is None:
            return False
        if message.updates.keys() != {"value"} or not rule(message.updates["value"]):
            raise FaultyMessageError("a control must be given a value that it can have")
    return True
