"""`ds4d export`: what it writes in each format, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh

from ds4d.export import FORMATS, read_compressed_ply, read_ply, read_splat
from ds4d.geometry import transform_points
from ds4d.scene import DynamicGaussians


def places(scene: DynamicGaussians, times: list[float]) -> torch.Tensor:
    with torch.no_grad():
        return scene.raw_at(torch.tensor(times)).means


def test_plys_stand_at_the_times_asked_for(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    """Between frames too, where the field is asked, not the frames."""
    outcome = ds4d("export", finished_run, "--times", 0, 0.27, 1, "-o", tmp_path)
    assert outcome.status == 0 and f"wrote {tmp_path / 'frame0002.ply'}" in outcome.out.splitlines()
    scene = DynamicGaussians.load(finished_run)
    expected = places(scene, [0.0, 0.27, 1.0])
    for index in range(3):
        raw = read_ply(tmp_path / f"frame{index + 1:04d}.ply")
        torch.testing.assert_close(transform_points(scene.world, raw.means), expected[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("format", "read"), [("splat", read_splat), ("compressed-ply", read_compressed_ply)])
def test_packed_formats_hold_the_clips_frames(
    ds4d: Callable, finished_run: Path, tmp_path: Path, format: str, read: Callable
) -> None:
    assert ds4d("export", finished_run, "--format", format, "-o", tmp_path / "files").status == 0
    scene = DynamicGaussians.load(finished_run)
    names = [f"frame{i + 1:04d}{FORMATS[format].endings[0]}" for i in range(len(scene.timeline.times))]
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == names
    inner = transform_points(scene.world, read(tmp_path / "files" / names[2]).means)
    distances = torch.cdist(inner, places(scene, [scene.timeline.times[2]])[0]).amin(1)
    assert distances.max() < 2e-3


def test_frames_are_spread_over_the_clip_at_any_slowness(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    outcome = ds4d("export", finished_run, "--format", "gltf", "--frames", 3, "-o", tmp_path)
    assert outcome.status == 0 and f"wrote {tmp_path / 'frame0002.glb'}" in outcome.out.splitlines()
    (cloud,) = trimesh.load(tmp_path / "frame0002.glb").geometry.values()
    scene = DynamicGaussians.load(finished_run)
    upright = (places(scene, [0.5])[0] - scene.world.translation) / scene.world.scale  # glTF is y up, as inside
    nearest = torch.cdist(torch.tensor(cloud.vertices).float(), upright).amin(1)
    assert len(cloud.vertices) == len(upright) and nearest.max() < 1e-3


def test_a_mesh_lies_where_the_gaussians_lie(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.glb"
    outcome = ds4d("export", finished_run, "--format", "mesh", "--resolution", 24, "--times", 0.5, 1, "-o", path)
    assert outcome.status == 0
    mesh = trimesh.load(path, process=False).to_geometry()
    scene = DynamicGaussians.load(finished_run)
    upright = (places(scene, [0.5])[0] - scene.world.translation) / scene.world.scale
    nearest = torch.cdist(torch.tensor(mesh.vertices).float(), upright).amin(1) * scene.world.scale
    assert nearest.median() < 0.05 and len(mesh.faces) > 200


def test_a_loop_ends_where_it_begins_and_says_how_far_it_jumped(
    ds4d: Callable, finished_run: Path, tmp_path: Path
) -> None:
    outcome = ds4d("export", finished_run, "--times", 0, 1, "--loop", "-o", tmp_path)
    assert outcome.status == 0 and "% of the object's size from the start on average" in outcome.out
    first, last = (read_ply(tmp_path / f"frame000{i}.ply") for i in (1, 2))
    torch.testing.assert_close(first.means, last.means, atol=1e-5, rtol=0)


def test_nothing_is_written_over_unless_forced(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    words = ["export", finished_run, "-o", tmp_path, "--times"]
    assert ds4d(*words, 0, 0.5, 1).status == 0
    before = (tmp_path / "frame0001.ply").read_bytes()
    outcome = ds4d(*words, 0.5)
    assert outcome.status == 2 and "frame0001.ply and 2 more must not exist yet" in outcome.err
    assert (tmp_path / "frame0001.ply").read_bytes() == before
    assert ds4d(*words, 0.5, "--force").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["frame0001.ply"]  # the longer sequence is gone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--times", "1.5"], "--times must lie in [0, 1], from the first frame to the last, got 1.5"),
        (["--times", "-0.1", "0.5"], "--times must lie in [0, 1]"),
        (["--times", "nan"], "--times must lie in [0, 1]"),
        (["--times", "0", "--frames", "3"], "--frames must not be given with --times"),
        (["--frames", "0"], "count must be at least 1, got 0"),
        (["--format", "splat", "--sh-degree", "3"], "--sh-degree must not be given with --format splat"),
        (["--resolution", "64"], "--resolution must not be given with --format ply"),
        (["--format", "mesh"], "must end in .glb"),
    ],
)
def test_what_does_not_fit_is_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    outcome = ds4d("export", finished_run, "-o", tmp_path / "out", *words)
    assert outcome.status == 2 and message in outcome.err and not (tmp_path / "out").exists()


def test_a_mesh_wants_rising_times(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    words = ["--format", "mesh", "--times", 1, 0.5]
    outcome = ds4d("export", finished_run, "-o", tmp_path / "m.glb", *words)
    assert outcome.status == 2 and "times must rise" in outcome.err


def test_unknown_formats_are_named(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    outcome = ds4d("export", finished_run, "--format", "fbx", "-o", tmp_path / "out")
    assert outcome.status == 2 and "fbx" in outcome.err and "compressed-ply" in outcome.err


@pytest.mark.parametrize(("up", "order", "signs"), [("y", [0, 1, 2], [1, 1, 1]), ("z", [0, 2, 1], [1, -1, 1])])
def test_export_turns_any_input_up_and_fills_up_colors(
    ds4d: Callable, finished_run: Path, tmp_path: Path, up: str, order: list[int], signs: list[int]
) -> None:
    """A run whose input had z up is exported with y or z up; this one is made from a run with y up."""
    scene = DynamicGaussians.load(finished_run)
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z becomes y
    scene.world = replace(scene.world, rotation=quarter)
    scene.save(tmp_path / "run")
    with torch.no_grad():
        inner = scene.raw_at(torch.zeros(1)).means[0]
    upright = (inner - scene.world.translation) / scene.world.scale
    words = ["--times", 0, "--up", up, "--sh-degree", 3, "-o", tmp_path / "files"]
    assert ds4d("export", tmp_path / "run", *words).status == 0
    raw = read_ply(tmp_path / "files" / "frame0001.ply")
    torch.testing.assert_close(raw.means, upright[:, order] * torch.tensor(signs), atol=1e-5, rtol=0)
    assert raw.sh.shape[1] == 16 and not raw.sh[:, scene.gaussians.raw().sh.shape[1] :].any()
    if up == "z":  # the input's own
        assert ds4d("export", tmp_path / "run", "--times", 0, "-o", tmp_path / "own").status == 0
        torch.testing.assert_close(read_ply(tmp_path / "own" / "frame0001.ply").means, raw.means, atol=1e-5, rtol=0)
