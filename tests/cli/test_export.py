"""`ds4d export`: files of each format, and refused options."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.cli.commands.export import COMMAND
from ds4d.export import FORMATS, MANIFEST, read_compressed_ply, read_ply, read_splat
from ds4d.geometry import transform_points
from ds4d.io import read_gltf
from ds4d.scene import DynamicGaussians


def positions(scene: DynamicGaussians, times: list[float]) -> torch.Tensor:
    with torch.no_grad():
        return scene.raw_at(torch.tensor(times)).means


def test_help_lists_all_formats_and_options_of_formats() -> None:
    shown = " ".join(COMMAND.help(show_all=True).split())
    for name, entry in FORMATS.items():
        assert f"{name} ({entry.about})" in shown
        assert all(f"--{option.replace('_', '-')} " in shown for option in entry.accepted_options)


def test_plys_at_given_times(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    """Between frames the deformation field is evaluated, not interpolated frames."""
    done = ds4d("export", finished_run, "--times", 0, 0.27, 1, "-o", tmp_path)
    assert done.code == 0 and f"wrote {tmp_path / 'frame0002.ply'}" in done.out.splitlines()
    scene = DynamicGaussians.load(finished_run)
    expected = positions(scene, [0.0, 0.27, 1.0])
    for index in range(3):
        raw = read_ply(tmp_path / f"frame{index + 1:04d}.ply")
        torch.testing.assert_close(transform_points(scene.world, raw.means), expected[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("format", "read"), [("splat", read_splat), ("compressed-ply", read_compressed_ply)])
def test_packed_formats_hold_the_frames_of_the_clip(
    ds4d: Callable, finished_run: Path, tmp_path: Path, format: str, read: Callable
) -> None:
    assert ds4d("export", finished_run, "--format", format, "-o", tmp_path / "files").code == 0
    scene = DynamicGaussians.load(finished_run)
    names = [f"frame{i + 1:04d}{FORMATS[format].endings[0]}" for i in range(len(scene.timeline.times))]
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == [*names, MANIFEST]
    inner = transform_points(scene.world, read(tmp_path / "files" / names[2]).means)
    distances = torch.cdist(inner, positions(scene, [scene.timeline.times[2]])[0]).amin(1)
    assert distances.max() < 2e-3


def test_frames_are_evenly_spaced_times(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    done = ds4d("export", finished_run, "--format", "gltf", "--frames", 3, "-o", tmp_path)
    assert done.code == 0 and f"wrote {tmp_path / 'frame0002.glb'}" in done.out.splitlines()
    (cloud,) = trimesh.load(tmp_path / "frame0002.glb").geometry.values()
    scene = DynamicGaussians.load(finished_run)
    upright = (
        positions(scene, [0.5])[0] - scene.world.translation
    ) / scene.world.scale  # glTF is y up, as normalized space
    nearest = torch.cdist(torch.tensor(cloud.vertices).float(), upright).amin(1)
    assert len(cloud.vertices) == len(upright) and nearest.max() < 1e-3


def test_mesh_positions_are_those_of_the_gaussians(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "object.glb"
    done = ds4d("export", finished_run, "--format", "mesh", "--resolution", 24, "--times", 0.5, 1, "-o", path)
    assert done.code == 0
    mesh = trimesh.load(path, process=False).to_geometry()
    scene = DynamicGaussians.load(finished_run)
    upright = (positions(scene, [0.5])[0] - scene.world.translation) / scene.world.scale
    nearest = torch.cdist(torch.tensor(mesh.vertices).float(), upright).amin(1) * scene.world.scale
    assert nearest.median() < 0.05 and len(mesh.faces) > 200


def test_a_skeleton_moves_the_mesh_and_the_error_is_said(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    """Also what is said is what the file moves like, beside that of free vertices."""
    free, bones = tmp_path / "free.glb", tmp_path / "bones.glb"
    argv = ["export", finished_run, "--resolution", 24]
    assert ds4d(*argv, "-o", free).code == 0
    done = ds4d(*argv, "--skeleton", 3, "-o", bones, "--json")
    assert done.code == 0
    stated = json.loads(done.out)["result"]["skeleton"]
    before, after = read_gltf(free), read_gltf(bones)
    seconds = np.linspace(0, before.clips[0].seconds, len(DynamicGaussians.load(finished_run).timeline.times))
    distances = np.linalg.norm(before.vertices_over(0, seconds) - after.vertices_over(0, seconds), axis=-1)
    distances /= np.linalg.norm(np.ptp(after.vertices_at(None, 0.0), axis=0))
    assert distances.mean() == pytest.approx(stated["mean"], abs=1e-4)
    assert distances.max() == pytest.approx(stated["largest"], abs=1e-4)
    assert stated["bones"] <= 3 and bones.stat().st_size < free.stat().st_size


@pytest.mark.parametrize("options", [["--skeleton", 0], ["--skeleton", 65], ["--skeleton", 4, "--times", 0.5]])
def test_skeletons_that_cannot_be_are_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, options: list
) -> None:
    done = ds4d("export", finished_run, "-o", tmp_path / "m.glb", *options)
    assert done.code == 2 and f"got {1 if '--times' in options else options[1]}" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_loop_ends_where_it_begins(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    done = ds4d("export", finished_run, "--times", 0, 1, "--loop", "-o", tmp_path)
    assert done.code == 0 and "loop: " in done.out
    first, last = (read_ply(tmp_path / f"frame000{i}.ply") for i in (1, 2))
    torch.testing.assert_close(first.means, last.means, atol=1e-5, rtol=0)


def test_existing_files_need_force(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["export", finished_run, "-o", tmp_path, "--times"]
    assert ds4d(*argv, 0, 0.5, 1).code == 0
    before = (tmp_path / "frame0001.ply").read_bytes()
    done = ds4d(*argv, 0.5)
    assert done.code == 2 and "frame0001.ply and 2 more" in done.err
    assert (tmp_path / "frame0001.ply").read_bytes() == before
    assert ds4d(*argv, 0.5, "--force").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame0001.ply", MANIFEST]


def test_the_manifest_of_another_sequence_is_not_replaced(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}")
    done = ds4d("export", finished_run, "-o", tmp_path, "--times", 0)
    assert done.code == 2 and MANIFEST in done.err and (tmp_path / MANIFEST).read_text() == "{}"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--times", "1.5"], "--times"),
        (["--times", "-0.1", "0.5"], "--times"),
        (["--times", "nan"], "--times"),
        (["--times", "0", "--frames", "3"], "--frames"),
        (["--frames", "0"], "--frames"),
        (["--format", "splat", "--sh-degree", "3"], "--sh-degree"),
        (["--resolution", "64"], "--resolution"),
        (["--format", "mesh"], "--output"),
        (["--skeleton", "8"], "--skeleton"),
    ],
)
def test_invalid_options_are_refused(
    ds4d: Callable, finished_run: Path, tmp_path: Path, options: list[str], name: str
) -> None:
    done = ds4d("export", finished_run, "-o", tmp_path / "out", *options)
    assert done.code == 2 and f"error: {name} " in done.err and not (tmp_path / "out").exists()


def test_mesh_times_must_increase(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    argv = ["--format", "mesh", "--times", 1, 0.5]
    done = ds4d("export", finished_run, "-o", tmp_path / "m.glb", *argv)
    assert done.code == 2 and "--times must" in done.err


def test_unknown_formats_are_refused(ds4d: Callable, finished_run: Path, tmp_path: Path) -> None:
    done = ds4d("export", finished_run, "--format", "fbx", "-o", tmp_path / "out")
    assert done.code == 2 and "fbx" in done.err and "compressed-ply" in done.err


@pytest.mark.parametrize(("up", "order", "signs"), [("y", [0, 1, 2], [1, 1, 1]), ("z", [0, 2, 1], [1, -1, 1])])
def test_up_axis_and_padded_spherical_harmonics(
    ds4d: Callable, finished_run: Path, tmp_path: Path, up: str, order: list[int], signs: list[int]
) -> None:
    """A run whose input is z up, made from one that is y up, is exported with y or z up."""
    scene = DynamicGaussians.load(finished_run)
    rotation = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z to y
    scene.world = replace(scene.world, rotation=rotation)
    scene.save(tmp_path / "run")
    with torch.no_grad():
        inner = scene.raw_at(torch.zeros(1)).means[0]
    upright = (inner - scene.world.translation) / scene.world.scale
    argv = ["--times", 0, "--up", up, "--sh-degree", 3, "-o", tmp_path / "files"]
    assert ds4d("export", tmp_path / "run", *argv).code == 0
    raw = read_ply(tmp_path / "files" / "frame0001.ply")
    torch.testing.assert_close(raw.means, upright[:, order] * torch.tensor(signs), atol=1e-5, rtol=0)
    assert raw.sh.shape[1] == 16 and not raw.sh[:, scene.gaussians.raw().sh.shape[1] :].any()
    if up == "z":  # that of the input
        assert ds4d("export", tmp_path / "run", "--times", 0, "-o", tmp_path / "own").code == 0
        torch.testing.assert_close(read_ply(tmp_path / "own" / "frame0001.ply").means, raw.means, atol=1e-5, rtol=0)
