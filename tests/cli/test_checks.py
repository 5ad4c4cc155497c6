from pathlib import Path

import pytest

from ds4d.cli.checks import check_local, check_output, check_overwrite, check_times, frame_paths, remove_stale


def test_existing_files_need_force(tmp_path: Path) -> None:
    existing = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in existing:
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"a\.mp4 and 1 more .*--force"):
        check_overwrite([*existing, tmp_path / "c.mp4"], force=False)
    check_overwrite([tmp_path / "c.mp4"], force=False)
    check_overwrite(existing, force=True)
    assert all(path.read_text() == "mine" for path in existing)


def test_frames_are_numbered_from_one_and_replace_longer_sequences(tmp_path: Path) -> None:
    paths = frame_paths(tmp_path / "new", ".ply", 3, force=False)
    assert [path.name for path in paths] == ["frame0001.ply", "frame0002.ply", "frame0003.ply"]
    for number in range(1, 6):
        (tmp_path / f"frame{number:04d}.ply").write_text("old")
    others = [tmp_path / "frame0009.compressed.ply", tmp_path / "frame.ply", tmp_path / "notes.txt"]
    for path in others:
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"frame0001\.ply and 4 more"):
        frame_paths(tmp_path, ".ply", 3, force=False)
    paths = frame_paths(tmp_path, ".ply", 3, force=True)
    assert (tmp_path / "frame0005.ply").exists(), "kept until the new frames are written"
    remove_stale(paths)
    assert sorted(path.name for path in tmp_path.glob("*.ply")) == [
        "frame.ply", "frame0001.ply", "frame0002.ply", "frame0003.ply", "frame0009.compressed.ply",
    ]  # fmt: skip
    assert all(path.read_text() == "mine" for path in others)


@pytest.mark.parametrize("times", [[1.5], [0.5, -0.1], [float("nan")]])
def test_times_lie_in_the_unit_interval(times: list[float]) -> None:
    check_times("times", [0.0, 1.0])
    with pytest.raises(ValueError, match=r"^--times "):
        check_times("times", times)


def test_urls_are_refused() -> None:
    check_local(Path("videos/a.mp4"))
    check_local(Path("C:/videos/a.mp4"))
    with pytest.raises(ValueError, match="URL"):
        check_local(Path("https://example.com/a.mp4"))


def test_outputs_are_created_only_where_that_is_possible(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_output(tmp_path / "new" / "folder", is_folder=True)
    check_output(tmp_path, is_folder=True)
    check_output(tmp_path / "new" / "video.mp4", is_folder=False)
    check_output(tmp_path / "file", is_folder=False)
    for path, is_folder in ((tmp_path / "file", True), (tmp_path, False), (tmp_path / "file" / "run", True)):
        with pytest.raises(ValueError, match=r"^--output "):
            check_output(path, is_folder=is_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where no folder can be created")
def test_outputs_in_special_file_systems_are_refused() -> None:
    with pytest.raises(ValueError, match="/proc"):
        check_output(Path("/proc/run"), is_folder=True)
