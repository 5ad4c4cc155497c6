"""Reading of files from outside: regular files alone, and no more of them than a reader expects."""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 2**25
_MAX_DEPTH = 32  # of nested lists and objects; what ds4d reads has at most 8
_MAX_DIGITS = 19  # of whole numbers; longer ones are read as floating-point numbers, which no count or index accepts


def check_regular(path: str | Path, *, max_bytes: int) -> int:
    """Refuses what is no file on a disk, such as a pipe or a device, empty files, and files above a size.

    Args:
        path: path of the file.
        max_bytes: largest size that is accepted.

    Returns:
        Its size in bytes.

    Raises:
        ValueError: the path leads to something else, or the file is empty or larger; the message names the path.
        OSError: there is nothing at the path, or it cannot be reached.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} must be a file, got a folder, pipe or device. Check the path.")
    if not status.st_size:  # also files of the system, of which some never end
        raise ValueError(f"{path} must have content, got an empty file. Check the path.")
    if status.st_size > max_bytes:
        raise ValueError(f"{path} must have at most {max_bytes} bytes, got {status.st_size}. Give a smaller file.")
    return status.st_size


def read_bytes(path: str | Path, *, max_bytes: int) -> bytes:
    """The content of a file.

    Args:
        path: path of the file.
        max_bytes: largest size that is accepted.

    Raises:
        ValueError: the path leads to no file, or to an empty or larger one; the message names the path.
        OSError: it cannot be read; the error names the path.
    """
    check_regular(path, max_bytes=max_bytes)
    try:
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)  # it may grow meanwhile
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    if len(content) > max_bytes:
        raise ValueError(f"{path} must have at most {max_bytes} bytes, got more. Give a smaller file.")
    return content


def read_text(path: str | Path, *, max_bytes: int) -> str:
    """The content of a UTF-8 file; arguments and errors as in `read_bytes`.

    Raises:
        ValueError: as in `read_bytes`, or the content is not UTF-8.
    """
    return read_bytes(path, max_bytes=max_bytes).decode("utf-8")


def read_json(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The content of a JSON file, as `parse_json` gives it.

    Args:
        path: path of the file.
        max_bytes: largest size that is accepted.

    Raises:
        ValueError: the path leads to no file or to a larger one, or the content is not JSON or nested too deeply.
        OSError: it cannot be read; the error names the path.
    """
    return parse_json(read_text(path, max_bytes=max_bytes))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds: `dict`, `list`, `str`, `bool`, None, `float`, and `int` of at most 19 digits.

    NaN and infinity are read, as Python's own `json` does; who needs finite numbers checks them.

    Raises:
        ValueError: the text is not JSON, or nested more than 32 levels deep.
    """
    try:
        content = json.loads(text, parse_int=_parse_int)
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deeply") from error
    _check_depth(content)
    return content


def is_finite_number(value: Any) -> bool:
    """Whether a value from JSON is a number, neither NaN nor infinite; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits.lstrip("-")) <= _MAX_DIGITS else float(digits)


def _check_depth(content: Any) -> None:
    """Refuses deep nesting level by level, as a recursive check would itself fail on it."""
    level = [content]
    for _ in range(_MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError(f"its lists and objects must be nested at most {_MAX_DEPTH} levels deep")


def _children(parent: Any) -> Any:
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()
