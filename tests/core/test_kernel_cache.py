"""numba's cache on the disk: whatever is wrong with it, kernels work, and one notice says so."""

import importlib.util
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from ds4d.core import Notice, Warned, kernel_cache, notices_to

pwd = pytest.importorskip("pwd", reason="needs the users and the pipes of Unix")

SOURCE = """
from ds4d.core.numba_kernels import kernel

@kernel()
def doubled(x):
    return x + x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that numba keeps its files in."""
    (tmp_path / "doubling.py").write_text(SOURCE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Notice]]]:
    """Doubles numbers as a new process would; returns the number of kernels read from the disk, and the notices."""

    def call(*numbers: Any) -> tuple[int, list[Notice]]:
        notices: list[Notice] = []
        monkeypatch.setattr(kernel_cache, "_FAILURES", itertools.count())
        spec = importlib.util.spec_from_file_location("doubling", tmp_path / "doubling.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with notices_to(notices.append):
            spec.loader.exec_module(module)
            for number in numbers:
                assert module.doubled(number) == number + number
        return sum(module.doubled.stats.cache_hits.values()), notices

    return call


def file_of(folder: Path, suffix: str) -> Path:
    (path,) = folder.rglob(f"*{suffix}")
    return path


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "without digest": lambda path: path.write_bytes(path.read_bytes()[:-32]),
    "a bit at the start": lambda path: flip(path, 30),
    "a bit in the middle": lambda path: flip(path, path.stat().st_size // 2),
    "a bit of the digest": lambda path: flip(path, -1),
    "other content": lambda path: path.write_bytes(b"cos\nsystem\n(S'false'\ntR." * 99),
}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced(folder: Path, call: Callable, suffix: str, damage: str) -> None:
    assert call(3) == (0, [])
    assert call(3) == (1, [])
    DAMAGES[damage](file_of(folder, suffix))
    hits, (notice,) = call(3)
    assert hits == 0 and isinstance(notice, Warned) and "NUMBA_CACHE_DIR" in notice.message
    assert call(3) == (1, [])


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("kind", ["missing", "link to nothing", "pipe", "folder"])
def test_what_is_not_a_file_is_a_miss(folder: Path, call: Callable, suffix: str, kind: str) -> None:
    call(3)
    path = file_of(folder, suffix)
    path.unlink()
    if kind == "link to nothing":
        path.symlink_to("nothing")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    hits, notices = call(3)
    assert hits == 0 and len(notices) == (kind in ("pipe", "folder"))
    assert call(3)[0] == (kind != "folder")


def test_the_code_of_other_arguments_is_not_used(folder: Path, call: Callable) -> None:
    """As after two processes that compiled the same kernel for different arguments at the same time."""
    call(3, 0.5)
    one, other = sorted(folder.rglob("*.nbc"))
    one.write_bytes(other.read_bytes())
    assert call(3, 0.5) == (1, [])


def test_a_cache_that_vanishes_meanwhile_is_made_anew(
    folder: Path, call: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = kernel_cache._CheckedFiles._save_data

    def vanish(self: Any, name: str, data: Any) -> None:
        for path in folder.rglob("*.*"):
            path.unlink()
        file_of(folder.parent, "cache").rename(folder.parent / "gone")
        real(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache._CheckedFiles, "_save_data", vanish)
        hits, notices = call(3)
    assert hits == 0 and len(notices) == 1
    assert call(3) == (0, []) and call(3) == (1, [])


def test_a_full_disk_is_no_error(folder: Path, call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache._CheckedFiles, "_save_data", refuse)
        hits, notices = call(3, 0.5)
    assert hits == 0 and len(notices) == 1
    assert call(3, 0.5)[0] == 0 and call(3, 0.5) == (2, [])


def test_without_any_folder_to_write_to(
    tmp_path: Path, folder: Path, call: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a read-only installation, started for a user without home and without name."""
    (tmp_path / "a file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "a file" / "cache"))
    (tmp_path / "__pycache__").touch()
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    hits, (notice,) = call(3, 0.5)
    assert hits == 0 and isinstance(notice, Warned) and "NUMBA_CACHE_DIR" in notice.message
    assert sorted(tmp_path.iterdir()) == before
