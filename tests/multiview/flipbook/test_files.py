"""Which files a flipbook has, and which one each frame shows."""

from pathlib import Path

import pytest

from ds4d.core import Notice, notices_to
from ds4d.multiview.flipbook.files import files_of_frames, list_files


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "f10.ply", "f9.ply", "f1.ply", ".f2.ply", "notes.txt", "texture.png")
    assert [path.name for path in list_files(tmp_path)] == ["f1.ply", "f9.ply", "f10.ply"]


def test_a_pattern_selects_files(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}/{name}" for i in (10, 2) for name in ("sample.glb", "sample.ply")))
    found = list_files(tmp_path / "*" / "sample.ply")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["2/sample.ply", "10/sample.ply"]
    assert list_files(tmp_path / "2" / "sample.glb") == [tmp_path / "2" / "sample.glb"]


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "both/1.ply", "both/1.glb", "empty/notes.txt")
    with pytest.raises(ValueError, match=r"1 \.glb and 1 \.ply"):
        list_files(tmp_path / "both")
    for given in (None, tmp_path / "empty", tmp_path / "missing", tmp_path / "*.obj"):
        with pytest.raises(ValueError, match="--flipbook"):
            list_files(given)


@pytest.mark.parametrize(
    ("files", "frames", "expected"),
    [(3, 3, [0, 1, 2]), (5, 3, [0, 2, 4]), (2, 4, [0, 0, 1, 1]), (1, 3, [0, 0, 0]), (3, 1, [1])],
)
def test_frames_show_the_file_nearest_in_time(files: int, frames: int, expected: list[int]) -> None:
    notices: list[Notice] = []
    with notices_to(notices.append):
        assert files_of_frames(files, frames) == expected
    assert len(notices) == (files != frames)
    assert all(f"{files} file" in notice.message and f"{frames} frames" in notice.message for notice in notices)
