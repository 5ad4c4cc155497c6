"""`ds4d animate`: a mesh of the user's, moved like the object of a run."""

from collections.abc import Callable
from pathlib import Path

import trimesh

from ds4d.io import read_gltf


def test_a_ball_follows_the_object(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.ply"
    trimesh.creation.icosphere(subdivisions=2, radius=0.4).export(file)
    done = ds4d("animate", file, finished_run, "-o", tmp_path / "out.glb", "--frames", 3)
    assert done.code == 0 and len(read_gltf(tmp_path / "out.glb").clips) == 1
    assert ds4d("animate", file, finished_run, "-o", tmp_path / "out.glb").code == 2
    for bad in (["-o", tmp_path / "out.obj"], ["-o", tmp_path / "b.glb", "--pose-time", 2]):
        assert ds4d("animate", file, finished_run, *bad).code == 2
    assert ds4d("animate", tmp_path / "none.glb", finished_run, "-o", tmp_path / "b.glb").code == 2
    assert not (tmp_path / "b.glb").exists()
