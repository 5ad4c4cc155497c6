"""Shapes of 3D files as Gaussians."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.export import write_ply, write_splat
from ds4d.shapes import Shape, read_shape
from ds4d.types import RawGaussians


def read(path: Path, count: int = 2000) -> Shape:
    return read_shape(path, count, torch.Generator().manual_seed(0))


def box(path: Path, color: tuple[int, int, int] | None) -> Path:
    mesh = trimesh.creation.box((2.0, 2.0, 2.0))
    if color:
        mesh.visual.vertex_colors = np.tile([*color, 255], (len(mesh.vertices), 1)).astype(np.uint8)
    mesh.export(path)
    return path


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_meshes_become_gaussians_on_their_surface(tmp_path: Path, suffix: str) -> None:
    shape = read(box(tmp_path / f"box{suffix}", (255, 0, 0)))
    assert shape.is_colored
    torch.testing.assert_close(shape.gaussians.means.abs().amax(-1), torch.ones(2000))
    torch.testing.assert_close(shape.colors, torch.tensor([1.0, 0.0, 0.0]).expand(2000, 3), atol=1e-3, rtol=0)
    spacing = (24 / 2000) ** 0.5
    assert spacing / 3 < shape.gaussians.log_scales.exp().median() < spacing


def test_a_mesh_without_colors_says_so(tmp_path: Path) -> None:
    assert not read(box(tmp_path / "box.glb", None)).is_colored
    assert not read(box(tmp_path / "box.ply", None)).is_colored


def test_gaussians_are_read_completely(tmp_path: Path, tiny_gaussians: RawGaussians) -> None:
    write_ply(tiny_gaussians, tmp_path / "set.ply")
    assert torch.equal(read(tmp_path / "set.ply", 4).gaussians.means, tiny_gaussians.means)
    write_splat(tiny_gaussians, tmp_path / "set.splat")
    assert read(tmp_path / "set.splat", 4).gaussians.num_gaussians == tiny_gaussians.num_gaussians


def test_node_transforms_of_gltf_are_applied(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((2.0, 2.0, 2.0)), transform=trimesh.transformations.scale_matrix(3.0))
    scene.export(tmp_path / "box.glb")
    torch.testing.assert_close(read(tmp_path / "box.glb").gaussians.means.abs().amax(-1), torch.full((2000,), 3.0))


def test_unusable_files_are_named(tmp_path: Path, tiny_gaussians: RawGaussians) -> None:
    bad = RawGaussians(**{name: getattr(tiny_gaussians, name).clone() for name in vars(tiny_gaussians)})
    write_ply(bad, tmp_path / "nan.ply")
    content = bytearray((tmp_path / "nan.ply").read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    (tmp_path / "nan.ply").write_bytes(content)
    (tmp_path / "empty.obj").write_text("o nothing\n")
    (tmp_path / "cut.splat").write_bytes(b"123")
    (tmp_path / "none.splat").write_bytes(b"")
    (tmp_path / "damaged.glb").write_bytes(b"glTF and no more")
    draco = {"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]}
    (tmp_path / "draco.gltf").write_text(json.dumps(draco))
    (tmp_path / "shape.fbx").write_bytes(b"")
    names = ("nan.ply", "empty.obj", "cut.splat", "none.splat", "damaged.glb", "draco.gltf", "shape.fbx", "missing.ply")
    for name in names:
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)
