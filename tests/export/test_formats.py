"""The registry of export formats: every format can be written, by the command's path and by the function."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plyfile import PlyData

from ds4d.export import (
    FORMATS,
    MANIFEST,
    PROGRAMS,
    ExportFormat,
    choose_format,
    export_paths,
    export_scene,
    infer_format,
    read_ply,
)
from ds4d.export.splat4d import _find_encoder
from ds4d.geometry import intrinsics, orbit_cameras, quats_to_matrices, transform_gaussians, transform_points
from ds4d.rendering import ReferenceRenderer
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import Cameras, RawGaussians, Similarity

PER_FRAME = [name for name, entry in FORMATS.items() if entry.per_frame]


def skip_without_extra(name: str) -> None:
    """Skips the test if a format needs an extra that is not installed."""
    if name in ("spz", "sog"):
        pytest.importorskip("gaussforge", reason="needs the extra `spz`")
    if name == "usd":
        pytest.importorskip("pxr", reason="needs the extra `usd`")
    if name == "4dgs":
        pytest.importorskip("fourdgs", reason="needs the extra `4dgs`")
    if name == "splat4d":
        try:
            _find_encoder("the test")
        except ImportError:
            pytest.skip("needs the extra `splat4d`")


@pytest.fixture
def scene(tiny_gaussians: RawGaussians) -> BakedGaussians:
    """Three frames of Gaussians that move to the right, in a world that is scaled and shifted."""
    frames = tiny_gaussians.expand_times(3)
    means = frames.means + torch.tensor([0.0, 0.1, 0.2])[:, None, None] * torch.tensor([1.0, 0, 0])
    moved = replace(frames, means=means, log_scales=frames.log_scales + 1, opacity_logits=frames.opacity_logits + 6)
    world = Similarity(2.0, torch.eye(3), torch.tensor([0.1, 0.2, 0.0]))
    return BakedGaussians(moved, Timeline((0.0, 0.5, 1.0), 1.0, False), world)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_its_files(scene: BakedGaussians, tmp_path: Path, name: str) -> None:
    skip_without_extra(name)
    entry = FORMATS[name]
    path = tmp_path / ("frames" if entry.per_frame else f"object{entry.endings[0]}")
    written = export_scene(scene, path, name, **({"resolution": 24} if "resolution" in entry.options else {}))
    assert written == export_paths(path, name, 3) and len(written) == (4 if entry.per_frame else 1)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == written
    manifest = written[3:]
    assert [file.name for file in manifest] == [MANIFEST] * entry.per_frame
    assert all(file.name.endswith(entry.endings[0]) for file in written[:3])


@pytest.mark.parametrize("name", PER_FRAME)
def test_one_time_may_be_a_single_file(scene: BakedGaussians, tmp_path: Path, name: str) -> None:
    skip_without_extra(name)
    path = tmp_path / f"object{FORMATS[name].endings[0]}"
    assert export_scene(scene, str(path), name, times=[0.25]) == [path] and path.is_file()
    with pytest.raises(ValueError, match=r"output .* folder for 2 times"):
        export_scene(scene, path, name, times=[0.25, 0.5])


def test_a_new_format_needs_one_line(
    scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_gaussians: RawGaussians
) -> None:
    """The least that an entry says: the writer gets the Gaussians of the time, turned to the requested up axis."""
    written = []
    entry = ExportFormat(lambda raw, path: written.append(raw), (".xyz",), per_frame=True, about="points")
    monkeypatch.setitem(FORMATS, "xyz", entry)
    for up in (None, "y", "z"):
        assert export_scene(scene, tmp_path / "a.xyz", times=[0.0], up=up) == [tmp_path / "a.xyz"]
    kept, y_up, z_up = (raw.means for raw in written)
    torch.testing.assert_close(kept, y_up)
    torch.testing.assert_close(z_up, y_up[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0]))


def test_times_and_world_of_the_files(scene: BakedGaussians, tmp_path: Path) -> None:
    for index, path in enumerate(export_scene(scene, tmp_path, times=torch.tensor([0.0, 0.25]))[:2]):
        expected = scene.raw_at(torch.tensor([0.25 * index])).means[0]
        torch.testing.assert_close(transform_points(scene.world, read_ply(path).means), expected)
    (path,) = export_scene(scene, tmp_path / "up.ply", times=[0.0], up="z", sh_degree=3)
    y_up = transform_points(Similarity(0.5, torch.eye(3), torch.tensor([-0.05, -0.1, 0.0])), scene.frames.means[0])
    torch.testing.assert_close(read_ply(path).means, y_up[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0]))
    assert read_ply(path).sh.shape[1] == 16


def test_supersplat_shows_the_frames_upright_and_from_the_front(scene: BakedGaussians, tmp_path: Path) -> None:
    """It turns what it opens by 180 degrees about z; what it then shows is the frame with y up."""
    (path,) = export_scene(scene, tmp_path / "a.ply", times=[0.0], program="supersplat")
    (plain,) = export_scene(scene, tmp_path / "b.ply", times=[0.0], up="y")
    turn = Similarity(1.0, torch.diag(torch.tensor([-1.0, -1.0, 1.0])), torch.zeros(3))
    shown, wanted = transform_gaussians(turn, read_ply(path)), read_ply(plain)
    torch.testing.assert_close(shown.means, wanted.means)
    torch.testing.assert_close(shown.sh, wanted.sh)
    torch.testing.assert_close(quats_to_matrices(shown.quats), quats_to_matrices(wanted.quats))


def test_unity_sees_the_frames_upright_unmirrored_and_from_the_front(scene: BakedGaussians, tmp_path: Path) -> None:
    """It takes the numbers as they are, and its camera looks along +z with x to the right and y up: left-handed."""
    (path,) = export_scene(scene, tmp_path / "a.ply", times=[0.0], program="unity")
    (plain,) = export_scene(scene, tmp_path / "b.ply", times=[0.0], up="y")
    stored, wanted = read_ply(path), read_ply(plain)
    assert stored.sh.shape[1] == 16
    # In our renderer's camera y points down: Unity's camera at z = -3 is this one, with a determinant of -1.
    unity = Cameras(torch.diag(torch.tensor([1.0, -1, 1, 1]))[None], intrinsics(45.0, 48, 48)[None], 48, 48)
    unity.viewmats[0, 2, 3] = 3.0
    ours = orbit_cameras([0.0], [0.0], fovy_deg=45.0, distance=3.0, width=48, height=48)
    renderer = ReferenceRenderer()
    seen, expected = renderer.render(stored.activate(), unity), renderer.render(wanted.activate(), ours)
    assert expected.alphas.max() > 0.5
    torch.testing.assert_close(seen.colors, expected.colors, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.alphas, expected.alphas, atol=1e-5, rtol=0)


@pytest.mark.parametrize("program", ["unity", "unreal", "houdini"])
def test_programs_decide_axes_and_harmonics(scene: BakedGaussians, tmp_path: Path, program: str) -> None:
    """Also of a world whose up axis is another."""
    scene.world = replace(scene.world, rotation=torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))
    *files, manifest = export_scene(scene, tmp_path, program=program)
    axes = json.loads(manifest.read_text())["axes"]
    up, front, handedness = {
        "unity": ([0, 1, 0], [0, 0, -1], "left"),
        "unreal": ([0, -1, 0], [0, 0, 1], "right"),
        "houdini": ([0, 1, 0], [0, 0, 1], "right"),
    }[program]
    assert axes == {"up": up, "front": front, "handedness": handedness}
    inner = (scene.frames.means[2] - scene.world.translation) / scene.world.scale
    raw = read_ply(files[2])
    torch.testing.assert_close(raw.means @ torch.tensor(up).float(), inner[:, 1])
    torch.testing.assert_close(raw.means @ torch.tensor(front).float(), inner[:, 2])
    assert raw.sh.shape[1] == 16


def test_plys_say_which_frame_they_hold(scene: BakedGaussians, tmp_path: Path) -> None:
    for index, path in enumerate(export_scene(scene, tmp_path)[:3]):
        comments = dict(line.split(" ", 1) for line in PlyData.read(str(path)).comments)
        assert comments["frame"] == f"{index + 1} of 3"
        assert float(comments["seconds"]) == pytest.approx(0.5 * index)
        assert float(comments["fps"]) == pytest.approx(2)
    for times in ([0.5], [0.0, 0.1, 1.0], [1.0, 0.5]):
        path = export_scene(scene, tmp_path / "other", times=times)[0]
        assert not [line for line in PlyData.read(str(path)).comments if "fps" in line]


@pytest.mark.parametrize(
    ("options", "up", "front"),
    [
        ({"up": "y"}, [0, 1, 0], [0, 0, 1]),
        ({"up": "z"}, [0, 0, 1], [0, -1, 0]),
        ({"program": "supersplat"}, [0, -1, 0], [0, 0, 1]),
    ],
)
def test_the_manifest_says_what_the_files_hold(scene: BakedGaussians, tmp_path: Path, options, up, front) -> None:
    *files, manifest = export_scene(scene, tmp_path, "ply", **options)
    content = json.loads(manifest.read_text())
    assert [tmp_path / frame["file"] for frame in content["frames"]] == files
    assert [frame["time"] for frame in content["frames"]] == [0, 0.5, 1]
    assert [frame["seconds"] for frame in content["frames"]] == [0, 0.5, 1]
    assert (content["format"], content["fps"], content["loops"], content["duration_seconds"]) == ("ply", 2, False, 1)
    assert content["gaussians"] == read_ply(files[0]).num_gaussians and content["rows"] == "same"
    assert content["units"]["object_radius"] == pytest.approx(0.25)
    assert content["axes"] == {"up": up, "front": front, "handedness": "right"}
    # The axes are those of the files: along `up` and `front`, heights and depths are those of normalized space.
    inner = (scene.frames.means[0] - scene.world.translation) / scene.world.scale
    means = read_ply(files[0]).means
    torch.testing.assert_close(means @ torch.tensor(up).float(), inner[:, 1])
    torch.testing.assert_close(means @ torch.tensor(front).float(), inner[:, 2])


def test_uneven_times_have_no_frame_rate(scene: BakedGaussians, tmp_path: Path) -> None:
    for times in ([0.5], [0.0, 0.1, 1.0]):
        *_, manifest = export_scene(scene, tmp_path, "splat", times=times)
        content = json.loads(manifest.read_text())
        assert content["fps"] is None and content["rows"] == "sorted" and len(content["frames"]) == len(times)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_decide_the_format_of_paths_without_an_ending(program: str) -> None:
    formats = PROGRAMS[program].formats
    assert choose_format(Path("folder"), None, program) == formats[0]
    for name in formats:
        assert choose_format(Path(f"a{FORMATS[name].endings[0]}"), None, program) == name
        assert choose_format(Path("folder"), name, program) == name


@pytest.mark.parametrize(
    ("path", "format", "program"), [("a.html", None, "blender"), ("a", "mesh", "supersplat"), ("a", None, "maya")]
)
def test_formats_that_a_program_does_not_read_are_refused(path: str, format: str | None, program: str) -> None:
    with pytest.raises(ValueError, match=program):
        choose_format(Path(path), format, program)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("folder", "ply"),
        ("a.ply", "ply"),
        ("a.compressed.ply", "compressed-ply"),
        ("a.b.SPLAT", "splat"),
        ("a.glb", "mesh"),
        ("a.html", "html"),
        ("a.htm", "html"),
    ],
)
def test_the_ending_chooses_the_format(path: str, name: str) -> None:
    assert infer_format(Path(path)) == name


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("object.obj", {}, "object.obj must end in"),
        ("object.html", {"format": "ply"}, r"object.html must end in \.ply"),
        ("object.ply", {"format": "compressed-ply", "times": [0.0]}, r"must end in \.compressed\.ply"),
        ("folder", {"format": "mesh"}, r"must end in \.glb"),
        ("folder", {"format": "fbx"}, "format must be one of ply"),
        ("folder", {"format": "splat", "sh_degree": 3}, "sh_degree"),
        ("folder", {"tint": "red"}, "tint"),
        ("folder", {"times": [0.0, 1.5]}, "times"),
        ("folder", {"times": []}, "times"),
        ("object.html", {"times": [1.0, 0.0]}, "times must rise"),
        ("object.glb", {"resolution": 4}, "resolution"),
    ],
)
def test_errors(scene: BakedGaussians, tmp_path: Path, path: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        export_scene(scene, tmp_path / path, **arguments)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_export_imports_nothing_of_the_training() -> None:
    """Nor does a module of it, with which the package is imported, too."""
    above = {
        f"ds4d.{name}" for name in ("training", "guidance", "losses", "visualize", "evaluation", "pipeline", "cli")
    }
    code = f"import ds4d.export.ply, sys; print(*{above!r}.intersection(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
