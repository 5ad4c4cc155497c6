"""The disk cache: round trips, eviction of the least recently used files, and failures that are warnings only."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ds4d.io.cache as cache_module
from ds4d.core import Warned, notices_to
from ds4d.io import LIMIT_BYTES, cache_folder, read_cached, write_cached


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path))
    return tmp_path / "features"


def maps(value: float = 0.0) -> Tensor:
    """8192 bytes."""
    return torch.full((2, 2, 4, 16, 16), value).half()


def set_last_use(folder: Path, key: str, seconds: int) -> None:
    """Sets the time of a file's last use."""
    os.utime(folder / f"{key}.safetensors", (seconds, seconds))


def cached_keys(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", [torch.half, torch.float32])
def test_round_trip(dtype: torch.dtype) -> None:
    written = torch.randn(2, 3, 4, 5, 6).to(dtype)
    write_cached("features", "key", {"maps": written.transpose(0, 1)})
    found = read_cached("features", "key")
    assert found is not None and found["maps"].dtype == dtype
    assert torch.equal(found["maps"], written.transpose(0, 1))


def test_unknown_keys_give_none() -> None:
    assert read_cached("features", "key") is None
    write_cached("features", "key", {"maps": maps()})
    assert read_cached("features", "other") is None


def test_folder_is_from_the_environment_or_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "a"))
    assert cache_folder("features") == tmp_path / "a" / "features"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in (None, ""):
        monkeypatch.delenv("DS4D_CACHE") if value is None else monkeypatch.setenv("DS4D_CACHE", value)
        assert cache_folder("features") == tmp_path / "home" / ".cache" / "ds4d" / "features"


def test_least_recently_used_is_evicted_first(folder: Path) -> None:
    for index, key in enumerate("abc"):
        write_cached("features", key, {"maps": maps(index)})
    for key, seconds in (("a", 300), ("b", 100), ("c", 200)):
        set_last_use(folder, key, seconds)
    write_cached("features", "d", {"maps": maps()}, limit_bytes=3 * 9000)
    assert cached_keys(folder) == {"a", "c", "d"}
    write_cached("features", "e", {"maps": maps()}, limit_bytes=2 * 9000)
    assert cached_keys(folder) == {"d", "e"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 * 9000


def test_reading_counts_as_use(folder: Path) -> None:
    for key in "ab":
        write_cached("features", key, {"maps": maps()})
        set_last_use(folder, key, 100 if key == "a" else 200)
    assert read_cached("features", "a") is not None
    write_cached("features", "c", {"maps": maps()}, limit_bytes=2 * 9000)
    assert cached_keys(folder) == {"a", "c"}


def test_tensors_above_the_limit_are_not_cached(folder: Path) -> None:
    write_cached("features", "small", {"maps": maps()})
    write_cached("features", "large", {"maps": maps()}, limit_bytes=8192)
    assert cached_keys(folder) == {"small"}


def test_other_files_are_not_evicted(folder: Path) -> None:
    write_cached("features", "a", {"maps": maps()})
    (folder / "notes.txt").write_text("mine")
    write_cached("features", "b", {"maps": maps()}, limit_bytes=9000)
    assert cached_keys(folder) == {"b", "notes"}


def test_categories_have_separate_folders_and_limits(folder: Path) -> None:
    write_cached("features", "a", {"maps": maps()})
    write_cached("views", "a", {"images": maps(1), "points": maps(2)}, limit_bytes=20_000)
    assert cached_keys(folder) == {"a"}
    found = read_cached("views", "a")
    assert found is not None and torch.equal(found["images"], maps(1)) and torch.equal(found["points"], maps(2))


def test_default_limit_is_four_gibibytes() -> None:
    assert LIMIT_BYTES == 4 * 1024**3


def test_failed_write_warns_and_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, parts: object) -> None:
        path.write_bytes(b"incomplete")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "write_parts", fail)
    with notices_to((notices := []).append):
        write_cached("features", "key", {"maps": maps()})
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "cache")]
    assert cached_keys(folder) == set()


def test_failed_write_keeps_the_older_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_cached("features", "key", {"maps": maps(1)})

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "write_parts", fail)
    with notices_to((notices := []).append):
        write_cached("features", "key", {"maps": maps(2)})
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "cache")]
    found = read_cached("features", "key")
    assert found is not None and torch.equal(found["maps"], maps(1))


def test_pipes_and_values_that_are_not_finite_give_none(folder: Path) -> None:
    write_cached("features", "bad", {"maps": maps(float("nan"))})
    os.mkfifo(folder / "pipe.safetensors")
    assert read_cached("features", "bad") is None
    assert read_cached("features", "pipe") is None


def test_a_user_without_a_home_folder_works_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers that run under any number; with a notice."""

    def fail(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DS4D_CACHE")
    monkeypatch.setattr(Path, "expanduser", fail)
    assert read_cached("features", "x") is None
    with notices_to((notices := []).append):
        write_cached("features", "x", {"a": torch.zeros(1)})
    assert [notice.part for notice in notices] == ["cache"] and "DS4D_CACHE" in notices[0].message


def test_an_unknown_user_is_a_missing_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS4D_CACHE", "~no-such-user/cache")
    assert read_cached("features", "x") is None
    with notices_to((notices := []).append):
        write_cached("features", "x", {"a": torch.zeros(1)})
    assert [notice.part for notice in notices] == ["cache"] and "~no-such-user" in notices[0].message
