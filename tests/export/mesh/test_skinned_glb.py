"""Files with a skeleton, read by the reader of models of other programs and by trimesh."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.export.mesh import read_skinning_error, write_skinned_glb
from ds4d.export.mesh.bones import Bones, find_bones
from ds4d.export.mesh.texture import Texture
from ds4d.geometry import quats_to_matrices
from ds4d.io import read_gltf

SECONDS = torch.tensor([0.0, 0.25, 0.5, 0.75])


@pytest.fixture(scope="module")
def swimming() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Bones]:
    """An ellipsoid that bends, its triangles, the same at four times, and five bones found in it."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    rest = torch.from_numpy(np.array(mesh.vertices)).float() * torch.tensor([1.0, 0.3, 0.3])
    triangles = torch.from_numpy(np.array(mesh.faces)).long()
    bends = torch.tensor([-0.6, 0.0, 0.6, 0.9])[:, None] * rest[:, 0].square()
    turns = quats_to_matrices(torch.stack((torch.ones(4), SECONDS, 0 * SECONDS, 2 * SECONDS), 1))
    vertices = torch.stack((rest[:, 0].expand(4, -1), rest[:, 1] + bends, rest[:, 2].expand(4, -1)), 2) @ turns.mT
    return rest, triangles, vertices, find_bones(rest, vertices, triangles, 5)


def test_the_file_moves_the_vertices_within_the_error_that_it_states(swimming: tuple, tmp_path: Path) -> None:
    rest, triangles, vertices, bones = swimming
    path = tmp_path / "m.glb"
    colors = torch.linspace(0, 1, 3 * len(rest)).view(-1, 3)
    write_skinned_glb(path, rest, vertices, bones, triangles, colors, SECONDS)
    model = read_gltf(path)
    assert np.array_equal(model.faces, triangles.numpy())
    np.testing.assert_allclose(model.vertices_at(None, 0.0), rest.numpy(), atol=1e-5)
    shown = model.vertices_over(0, SECONDS.numpy())
    np.testing.assert_allclose(shown, bones.skin(rest.double()).numpy(), atol=1e-4)  # weights of 16 bits
    distances = np.linalg.norm(shown - vertices.numpy(), axis=-1) / np.linalg.norm(np.ptp(rest.numpy(), axis=0))
    stated = read_skinning_error(path)
    assert stated.bones == 5 and 0 < stated.mean < 0.02
    assert distances.mean() == pytest.approx(stated.mean, abs=1e-4)
    assert distances.max() == pytest.approx(stated.largest, abs=1e-4)
    still = trimesh.load(path, process=False).to_geometry()
    np.testing.assert_allclose(still.vertices, rest.numpy(), atol=1e-6)


def test_the_skeleton_is_a_tree_of_joints_below_one_root(swimming: tuple, tmp_path: Path, read_glb: Callable) -> None:
    rest, triangles, vertices, bones = swimming
    write_skinned_glb(tmp_path / "m.glb", rest, vertices, bones, triangles, torch.ones_like(rest), SECONDS)
    gltf = read_glb(tmp_path / "m.glb")
    nodes, (skin,) = gltf.json["nodes"], gltf.json["skins"]
    assert skin["joints"] == list(range(1, 7)) and [nodes[i]["name"] for i in (1, 2, 6)] == ["root", "bone1", "bone5"]
    below, reached = [1], []
    while below:
        reached.append(below.pop())
        below += nodes[reached[-1]].get("children", [])
    assert sorted(reached) == skin["joints"]
    assert len(nodes[1]["children"]) == 1  # a whole body
    attributes = gltf.json["meshes"][0]["primitives"][0]["attributes"]
    joints, weights = gltf.rows(attributes["JOINTS_0"]), gltf.rows(attributes["WEIGHTS_0"])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    assert joints[weights > 0].min() >= 1 and joints.max() <= 5 and not joints[weights == 0].any()
    matrices = gltf.rows(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
    np.testing.assert_array_equal(matrices[:, :3, :3], np.broadcast_to(np.eye(3), (6, 3, 3)))
    for channel in gltf.json["animations"][0]["channels"]:
        sampler = gltf.json["animations"][0]["samplers"][channel["sampler"]]
        np.testing.assert_array_equal(gltf.rows(sampler["input"])[:, 0], SECONDS.numpy())
        if channel["target"]["path"] == "rotation":
            quats = gltf.rows(sampler["output"])
            np.testing.assert_allclose(np.linalg.norm(quats, axis=1), 1, atol=1e-6)
            assert (quats[1:] * quats[:-1]).sum(1).min() > 0


def test_a_texture_cuts_the_weights_with_the_surface(swimming: tuple, tmp_path: Path) -> None:
    rest, triangles, vertices, bones = swimming
    origins = triangles.flatten()  # each triangle on its own
    image = np.full((64, 64, 3), 90, np.uint8)
    uvs = torch.rand(len(origins), 2, generator=torch.Generator().manual_seed(0))
    texture = Texture(origins, torch.arange(len(origins)).view(-1, 3), uvs, image)
    write_skinned_glb(tmp_path / "m.glb", rest, vertices, bones, triangles, torch.ones_like(rest), SECONDS, texture)
    model = read_gltf(tmp_path / "m.glb")
    expected = bones.skin(rest.double())[:, origins].numpy()
    np.testing.assert_allclose(model.vertices_over(0, SECONDS.numpy()), expected, atol=1e-4)
    read = trimesh.load(tmp_path / "m.glb", process=False).to_geometry()
    assert np.array_equal(np.asarray(read.visual.material.baseColorTexture.convert("RGB")), image)


def test_values_that_are_not_finite_are_refused(swimming: tuple, tmp_path: Path) -> None:
    rest, triangles, vertices, bones = swimming
    broken = vertices.clone()
    broken[1, 2, 0] = torch.inf
    with pytest.raises(ValueError, match=r"vertices of .*m\.glb must be finite"):
        write_skinned_glb(tmp_path / "m.glb", rest, broken, bones, triangles, torch.ones_like(rest), SECONDS)
    assert list(tmp_path.iterdir()) == []
