"""Files from outside: JSON of any depth, size and number, and paths that lead to no file."""

import math
import os
from pathlib import Path

import pytest

from ds4d.io import check_regular, parse_json, read_bytes, read_json


def test_json_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, -2.5, true, null, "ä"], "b": 18446744073709551615}', encoding="utf-8")
    assert read_json(path) == {"a": [1, -2.5, True, None, "ä"], "b": 1.8446744073709552e19}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000 + "]" * 20_000,
        "[" * 33 + "]" * 33,
        '{"a":' * 33 + "1" + "}" * 33,
        "[" * 20_000,
        "{",
        "",
        '"\\ud800',
    ],
    ids=["very deep", "deep list", "deep object", "unclosed", "cut", "empty", "broken text"],
)
def test_what_is_too_deep_or_no_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_depth_is_not_confused_with_length() -> None:
    assert parse_json("[" * 32 + "]" * 32)
    assert len(parse_json("[" + ",".join(["[]"] * 1000) + "]")) == 1000


def test_no_whole_number_has_more_than_19_digits() -> None:
    assert parse_json("9223372036854775807") == 2**63 - 1
    for digits in ("1" + "0" * 19, "-1" + "0" * 40, "1" + "0" * 300):
        assert isinstance(parse_json(digits), float)
    assert math.isinf(parse_json("9" * 400)) and math.isinf(parse_json("1e400"))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


def test_large_and_empty_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 2**40)  # a hole: it takes no space, but would take all memory
    with pytest.raises(ValueError, match=r"a\.json"):
        read_json(path)
    os.truncate(path, 0)
    with pytest.raises(ValueError, match=r"a\.json"):
        read_bytes(path, max_bytes=10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match=str(path)):
            check_regular(path, max_bytes=2**40)


def test_other_failures_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "none", tmp_path / "loop" / "a", tmp_path / ("a" * 300)):
        with pytest.raises(OSError) as caught:
            read_json(path)
        assert str(caught.value.filename) == str(path)
