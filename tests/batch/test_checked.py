"""Options that were checked once are not checked again by the workers that join."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ds4d.batch import checked as checked_module
from ds4d.batch.batch import open_store
from ds4d.batch.checked import CheckedOptions
from ds4d.batch.manifest import Item, OptionChecks, read_items
from ds4d.batch.stores import MemoryStore, Store

KNOWN = frozenset({"--size", "--fusion", "--no-fusion", "--config"})


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[Item], list[Sequence[str]]]]:
    """Reads rows as a new worker does; the objects, and the options that it has checked."""
    (tmp_path / "a.mp4").write_bytes(b"")

    def run(store: Store, rows: Sequence[str], header: str = "size") -> tuple[list[Item], list[Sequence[str]]]:
        lines = [f"input,name,{header}", *(f"a.mp4,n{index},{row}" for index, row in enumerate(rows))]
        (tmp_path / "m.csv").write_text("\n".join(lines))
        seen: list[Sequence[str]] = []

        def check(options: Sequence[str]) -> None:
            seen.append(options)
            if "big" in options:
                raise ValueError("--size must be a number.")

        checked = CheckedOptions(store, lambda: OptionChecks(KNOWN, check))
        items = read_items(str(tmp_path / "m.csv"), checked.checks)
        checked.save()
        return items, seen

    return run


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path / "out"))


def test_the_same_rows_are_checked_once(read: Callable, store: Store) -> None:
    begun, checked = read(store, ["64,false", "96,"], "size,fusion")
    assert checked == [("--size", "64", "--no-fusion"), ("--size", "96")]
    assert read(store, ["64,false", "96,"], "size,fusion") == (begun, [])


def test_what_is_known_needs_no_checks_at_all(read: Callable, store: Store, tmp_path: Path) -> None:
    read(store, ["64"])

    def make() -> OptionChecks:
        raise AssertionError("the checks were made")

    assert read_items(str(tmp_path / "m.csv"), CheckedOptions(store, make).checks)[0].options == ("--size", "64")


def test_rows_that_were_added_or_changed_are_checked(read: Callable, store: Store) -> None:
    read(store, ["64"])
    with pytest.raises(ValueError, match=r"row 3.*'size'"):
        read(store, ["64", "big"])
    assert read(store, ["64", "96"])[1] == [("--size", "96")]
    assert read(store, ["64", "96"])[1] == []


def test_another_version_checks_again(read: Callable, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read(store, ["64"])
    monkeypatch.setattr(checked_module, "_KEY", "checked-of-another-version.json")
    assert read(store, ["64"])[1] == [("--size", "64")]


def test_options_that_a_file_decides_are_checked_by_each(read: Callable, store: Store) -> None:
    for _ in range(2):
        assert read(store, ["run/config.json"], "config")[1] == [("--config", "run/config.json")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"known": 3, "valid": []}', b'{"known": []}'])
def test_a_damaged_record_is_as_none(read: Callable, content: bytes) -> None:
    store = MemoryStore()
    store.replace(checked_module._KEY, content)
    for expected in ([("--size", "64")], []):
        assert read(store, ["64"])[1] == expected
