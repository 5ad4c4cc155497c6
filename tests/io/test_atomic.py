import errno
import os
from pathlib import Path

import pytest

from ds4d.io import atomic_path, leftovers


def test_file_is_renamed_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "scene.json"
    with atomic_path(target) as temporary:
        temporary.write_text("complete")
        assert temporary.parent == target.parent and temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "complete"
    assert list(target.parent.iterdir()) == [target]


def test_error_keeps_the_old_file_only(tmp_path: Path) -> None:
    target = tmp_path / "scene.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", [None, "temporary"])
def test_disk_errors_name_the_target(tmp_path: Path, name: str | None) -> None:
    target = tmp_path / "scene.json"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(target) as temporary:
        raise OSError(errno.ENOSPC, "No space left on device", name and str(temporary))
    assert caught.value.filename == str(target) and caught.value.errno == errno.ENOSPC


def test_errors_of_other_files_are_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "scene.json"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_disk_that_turns_read_only_is_reported_by_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "scene.json"

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError) as caught, atomic_path(target) as temporary:
        raise OSError(errno.EROFS, "Read-only file system", str(temporary))
    assert caught.value.filename == str(target)


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its name, and the names of new folders."""
    target, done = tmp_path / "new" / "scene.json", []
    sync, replace = os.fsync, os.replace

    def record_sync(number: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
        sync(number)

    def record_replace(source: str | Path, name: str | Path) -> None:
        done.append("replace")
        replace(source, name)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see what is synced")
    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_path(target, durable=True) as temporary:
        temporary.write_text("complete")
    assert done == [temporary.name, "replace", "new", tmp_path.name]
    done.clear()
    with atomic_path(target) as temporary:
        temporary.write_text("quick")
    assert done == ["replace"]


def test_a_disk_that_is_full_when_it_is_synced_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "scene.json"
    target.write_text("old")

    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"scene\.json"), atomic_path(target, durable=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_files_in_progress_can_be_told_from_others(tmp_path: Path) -> None:
    (tmp_path / "scene.json").touch()
    (tmp_path / ".scene-0a1b2c3d.json").touch()
    with atomic_path(tmp_path / "a long name.safetensors") as temporary:
        temporary.touch()
        assert list(leftovers(tmp_path)) == [temporary]
