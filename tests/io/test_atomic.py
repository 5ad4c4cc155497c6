import errno
from pathlib import Path

import pytest

from ds4d.io import atomic_path


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
