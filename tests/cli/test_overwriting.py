from pathlib import Path

import pytest

from ds4d.cli.overwriting import claim, claim_frames, leave_alone


def test_what_is_there_is_refused_unless_forced(tmp_path: Path) -> None:
    there = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in there:
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"a\.mp4 and 1 more must not exist yet.*--force"):
        claim([*there, tmp_path / "c.mp4"], force=False)
    claim([tmp_path / "c.mp4"], force=False)
    claim(there, force=True)
    assert all(path.read_text() == "mine" for path in there)


def test_frames_are_numbered_from_one_and_stand_alone(tmp_path: Path) -> None:
    paths = claim_frames(tmp_path / "new", ".ply", 3, force=False)
    assert [path.name for path in paths] == ["frame0001.ply", "frame0002.ply", "frame0003.ply"]
    for number in range(1, 6):
        (tmp_path / f"frame{number:04d}.ply").write_text("old")
    others = [tmp_path / "frame0009.compressed.ply", tmp_path / "frame.ply", tmp_path / "notes.txt"]
    for path in others:
        path.write_text("mine")
    with pytest.raises(ValueError, match=r"frame0001\.ply and 4 more must not exist"):
        claim_frames(tmp_path, ".ply", 3, force=False)
    paths = claim_frames(tmp_path, ".ply", 3, force=True)
    assert (tmp_path / "frame0005.ply").exists(), "until the new ones are written"
    leave_alone(paths)
    assert sorted(path.name for path in tmp_path.glob("*.ply")) == [
        "frame.ply", "frame0001.ply", "frame0002.ply", "frame0003.ply", "frame0009.compressed.ply",
    ]  # fmt: skip
    assert all(path.read_text() == "mine" for path in others)
