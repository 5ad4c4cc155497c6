"""Points from mesh and point cloud files."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from ds4d.shapes import read_points


def cloud(path: Path, points: np.ndarray) -> Path:
    trimesh.PointCloud(points).export(path)
    return path


def test_small_cloud_is_read_completely(tmp_path: Path, rng: np.random.Generator, generator: torch.Generator) -> None:
    points = rng.random((7, 3)).astype(np.float32)
    read, colors = read_points(cloud(tmp_path / "cloud.ply", points), 100, generator)
    np.testing.assert_allclose(read.numpy(), points)
    assert colors is None


def test_large_cloud_is_subsampled(tmp_path: Path, rng: np.random.Generator, generator: torch.Generator) -> None:
    path = cloud(tmp_path / "cloud.ply", rng.random((200, 3)).astype(np.float32))
    everything = {tuple(row) for row in read_points(path, 200, generator)[0].tolist()}
    part = {tuple(row) for row in read_points(path, 50, torch.Generator().manual_seed(1))[0].tolist()}
    again = {tuple(row) for row in read_points(path, 50, torch.Generator().manual_seed(1))[0].tolist()}
    assert len(part) == 50 and part < everything
    assert part == again


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_mesh_is_sampled_uniformly(tmp_path: Path, suffix: str, generator: torch.Generator) -> None:
    """All sides of a cube get equally many points."""
    path = tmp_path / f"box{suffix}"
    trimesh.creation.box((2.0, 2.0, 2.0)).export(path)
    points, _ = read_points(path, 3000, generator)
    assert points.shape == (3000, 3)
    torch.testing.assert_close(points.abs().amax(-1), torch.ones(3000))
    sides = torch.bincount(2 * points.abs().argmax(-1) + (points.sum(-1) > 0))
    assert sides.min() > 350  # 500 per side, with a standard deviation of 20


def test_colors_belong_to_their_points(tmp_path: Path, rng: np.random.Generator, generator) -> None:
    """The color of each point is its position."""
    points = rng.integers(0, 256, (200, 3)) / 255
    trimesh.PointCloud(points, colors=(255 * points).round().astype(np.uint8)).export(tmp_path / "cloud.ply")
    for count in (500, 40):
        positions, colors = read_points(tmp_path / "cloud.ply", count, generator)
        torch.testing.assert_close(colors, positions, atol=1e-6, rtol=0)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_vertex_colors_are_interpolated(tmp_path: Path, suffix: str, generator: torch.Generator) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    path = tmp_path / f"tetrahedron{suffix}"
    expected_colors = np.concatenate((255 * corners, np.full((4, 1), 255)), axis=1).astype(np.uint8)
    faces = [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]
    trimesh.Trimesh(corners, faces, vertex_colors=expected_colors, process=False).export(path)
    positions, colors = read_points(path, 300, generator)
    torch.testing.assert_close(colors, positions, atol=0.01, rtol=0)


def quarters() -> Image.Image:
    """Quadrants: red and green above, blue and yellow below."""
    colors = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    return Image.fromarray(colors.repeat(8, 0).repeat(8, 1))


def square(material: trimesh.visual.material.Material) -> trimesh.Trimesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    visual = trimesh.visual.TextureVisuals(uv=corners[:, :2], material=material)
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_textures_are_sampled(tmp_path: Path, suffix: str, generator: torch.Generator) -> None:
    path = tmp_path / f"square{suffix}"
    square(trimesh.visual.material.SimpleMaterial(image=quarters())).export(path)
    positions, colors = read_points(path, 400, generator)
    right, upper = positions[:, 0] > 0.5, positions[:, 1] > 0.5
    for area, color in (
        (~right & upper, (1, 0, 0)),
        (right & upper, (0, 1, 0)),
        (~right & ~upper, (0, 0, 1)),
        (right & ~upper, (1, 1, 0)),
    ):
        torch.testing.assert_close(colors[area].mean(0), torch.tensor(color).float(), atol=0.06, rtol=0)


def test_parts_of_a_scene_keep_position_and_color(tmp_path: Path, generator: torch.Generator) -> None:
    """A green square, and a textured one three units beside it, of equal area."""
    scene = trimesh.Scene()
    scene.add_geometry(square(trimesh.visual.material.PBRMaterial(baseColorFactor=[0, 255, 0, 255])))
    moved = trimesh.transformations.translation_matrix((3, 0, 0))
    scene.add_geometry(square(trimesh.visual.material.PBRMaterial(baseColorTexture=quarters())), transform=moved)
    scene.export(tmp_path / "scene.glb")
    positions, colors = read_points(tmp_path / "scene.glb", 600, generator)
    first = positions[:, 0] < 2
    assert 240 < first.sum() < 360
    torch.testing.assert_close(colors[first], torch.tensor([0.0, 1.0, 0.0]).expand(int(first.sum()), 3))
    assert colors[~first].std(0).min() > 0.3


def test_part_without_color_removes_all_colors(tmp_path: Path, generator: torch.Generator) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(square(trimesh.visual.material.PBRMaterial(baseColorTexture=quarters())))
    scene.add_geometry(trimesh.creation.box())
    scene.export(tmp_path / "scene.glb")
    assert read_points(tmp_path / "scene.glb", 50, generator)[1] is None


def test_missing_file_raises(tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"absent\.ply"):
        read_points(tmp_path / "absent.ply", 10, generator)


@pytest.mark.parametrize("content", [b"", b"ply\nformat ascii", b"\x00\x01\x02"])
def test_damaged_file_raises(tmp_path: Path, content: bytes, generator: torch.Generator) -> None:
    path = tmp_path / "damaged.ply"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.ply"):
        read_points(path, 10, generator)


@pytest.mark.parametrize("content", ["", "hello\n", "f 1 2 3\n"])
def test_file_without_points_raises(tmp_path: Path, content: str, generator: torch.Generator) -> None:
    path = tmp_path / "empty.obj"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"empty\.obj"):
        read_points(path, 10, generator)


def test_other_formats_raise(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "creature.fbx"
    path.write_bytes(b"Kaydara FBX Binary")
    with pytest.raises(ValueError, match=r"creature\.fbx"):
        read_points(path, 10, generator)


def test_non_finite_vertex_raises(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n")
    with pytest.raises(ValueError, match=r"mesh\.obj.*finite"):
        read_points(path, 10, generator)


def test_non_finite_points_raise(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "points.obj"
    path.write_text("v 0 0 0\nv nan 1 1\n")
    with pytest.raises(ValueError, match=r"points\.obj.*finite"):
        read_points(path, 10, generator)


CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def ply_mesh(path: Path, face: str, corners: str = "0 0 0\n1 0 0\n0 1 0\n") -> Path:
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    path.write_text(f"{head}element face 1\nproperty list uchar int vertex_indices\nend_header\n{corners}{face}\n")
    return path


@pytest.mark.parametrize("face", ["3 0 1 999999", "3 0 1 -7", "3 0 1 3"])
def test_faces_beyond_the_points_are_refused(tmp_path: Path, face: str, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"mesh\.ply"):
        read_points(ply_mesh(tmp_path / "mesh.ply", face), 10, generator)


@pytest.mark.parametrize("corners", ["1 2 3\n" * 3, "0 0 0\n1 1 1\n2 2 2\n"])
def test_a_mesh_without_area_has_its_points(tmp_path: Path, corners: str, generator: torch.Generator) -> None:
    path = ply_mesh(tmp_path / "mesh.ply", "3 0 1 2", corners)
    expected = torch.tensor([[float(value) for value in row.split()] for row in corners.splitlines()])
    torch.testing.assert_close(read_points(path, 10, generator)[0], expected)


def test_parts_without_area_are_left_out(tmp_path: Path, generator: torch.Generator) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box())
    scene.add_geometry(trimesh.creation.box(), transform=np.diag([0.0, 0.0, 0.0, 1.0]))
    scene.export(tmp_path / "scene.glb")
    positions, _ = read_points(tmp_path / "scene.glb", 50, generator)
    torch.testing.assert_close(positions.abs().amax(-1), torch.full((50,), 0.5))


@pytest.mark.parametrize("far", ["1e38", "1e300", "-1e12"])
def test_points_beyond_all_precision_are_refused(tmp_path: Path, far: str, generator: torch.Generator) -> None:
    (tmp_path / "mesh.obj").write_text(f"{CORNERS}v {far} 0 0\nf 1 2 4\n")
    with pytest.raises(ValueError, match=r"mesh\.obj"):
        read_points(tmp_path / "mesh.obj", 10, generator)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_materials_are_files_below_the_folder(tmp_path: Path, generator: torch.Generator) -> None:
    """Neither a pipe, which would never end, nor a file elsewhere."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    os.mkfifo(folder / "pipe.mtl")
    (tmp_path / "secret.mtl").write_text("newmtl a\nKd 1 0 0\n")
    (folder / "link.mtl").symlink_to(tmp_path / "secret.mtl")
    for name in ("pipe.mtl", "../secret.mtl", str(tmp_path / "secret.mtl"), "link.mtl", "/dev/zero"):
        (folder / "mesh.obj").write_text(f"mtllib {name}\n{CORNERS}vt 0 0\nusemtl a\nf 1/1 2/1 3/1\n")
        positions, colors = read_points(folder / "mesh.obj", 10, generator)
        assert positions.shape == (10, 3)
        assert colors is None or not torch.equal(colors[0], torch.tensor([1.0, 0.0, 0.0]))


def change_glb(path: Path, change: Callable[[dict], object]) -> Path:
    """Changes the JSON of a GLB file."""
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    document = json.loads(content[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    size = 20 + len(text) + len(rest)
    head = content[:8] + size.to_bytes(4, "little") + len(text).to_bytes(4, "little") + content[16:20]
    path.write_bytes(head + text + rest)
    return path


def add_zeros(document: dict) -> None:
    """An accessor without data, whose zeros would be allocated."""
    accessor = {"componentType": 5126, "type": "VEC3", "count": 10**9, "min": [0] * 3, "max": [0] * 3}
    document["accessors"].append(accessor)
    document["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = len(document["accessors"]) - 1


def add_nodes(document: dict) -> None:
    """A million points as often as there are nodes."""
    document["nodes"] += [{"mesh": 0} for _ in range(2000)]
    document["scenes"][0]["nodes"] += list(range(len(document["nodes"]) - 2000, len(document["nodes"])))


def nest(document: dict) -> None:
    inner: list = []
    for _ in range(200):
        inner = [inner]
    document["extras"] = inner


@pytest.mark.parametrize("change", [add_zeros, add_nodes, nest])
def test_small_files_of_gigabytes_are_refused(tmp_path: Path, change: Callable, generator: torch.Generator) -> None:
    trimesh.Trimesh(np.random.default_rng(0).random((6000, 3)), np.arange(6000).reshape(-1, 3), process=False).export(
        tmp_path / "mesh.glb"
    )
    assert read_points(tmp_path / "mesh.glb", 5, generator)[0].shape == (5, 3)
    with pytest.raises(ValueError, match=r"mesh\.glb"):
        read_points(change_glb(tmp_path / "mesh.glb", change), 5, generator)


def test_large_textures_are_not_decoded(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "square.glb"
    square(trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("1", (8200, 8200)))).export(path)
    with pytest.raises(ValueError, match=r"square\.glb"):
        read_points(path, 5, generator)
