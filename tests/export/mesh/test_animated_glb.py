import numpy as np
import pytest
import torch
import trimesh

from ds4d.export.mesh import write_animated_glb


@pytest.fixture
def tetrahedron() -> tuple[torch.Tensor, torch.Tensor]:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return vertices, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def vertices_at(gltf, seconds: float) -> np.ndarray:
    """The vertices that a player shows: morph targets with weights interpolated in time."""
    mesh = gltf.json["meshes"][0]
    sampler = gltf.json["animations"][0]["samplers"][0]
    times, targets = gltf.rows(sampler["input"])[:, 0], mesh["primitives"][0]["targets"]
    weights = gltf.rows(sampler["output"]).reshape(len(times), len(targets))
    now = [np.interp(seconds, times, column) for column in weights.T]
    shape = gltf.rows(mesh["primitives"][0]["attributes"]["POSITION"])
    return shape + sum(w * gltf.rows(target["POSITION"]) for w, target in zip(now, targets, strict=True))


def test_vertices_at_their_times(tmp_path, tetrahedron, read_glb, generator):
    shape, triangles = tetrahedron
    vertices = shape + torch.randn(4, 4, 3, generator=generator)
    seconds = torch.tensor([0.0, 0.5, 1.5, 2.0])
    write_animated_glb(tmp_path / "m.glb", vertices, triangles, torch.rand(4, 3, generator=generator), seconds)
    gltf = read_glb(tmp_path / "m.glb")
    for expected, second in zip(vertices.numpy(), seconds.tolist(), strict=True):
        np.testing.assert_allclose(vertices_at(gltf, second), expected, atol=1e-6)
    np.testing.assert_allclose(vertices_at(gltf, 1.0), (vertices[1] + vertices[2]).numpy() / 2, atol=1e-6)
    channel = gltf.json["animations"][0]["channels"][0]
    assert channel["target"] == {"node": 0, "path": "weights"}
    for accessor in (gltf.json["meshes"][0]["primitives"][0]["targets"][1]["POSITION"],):
        entry, rows = gltf.json["accessors"][accessor], gltf.rows(accessor)
        assert entry["min"] == rows.min(0).tolist() and entry["max"] == rows.max(0).tolist()


def test_other_readers_see_the_base_shape_and_its_colors(tmp_path, tetrahedron, read_glb):
    shape, triangles = tetrahedron
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.735357, 0.735357, 0.735357]])
    write_animated_glb(tmp_path / "m.glb", torch.stack((shape, 2 * shape)), triangles, colors, torch.tensor([0.0, 1]))
    mesh = trimesh.load(tmp_path / "m.glb", process=False).to_geometry()
    np.testing.assert_allclose(mesh.vertices, shape.numpy(), atol=1e-7)
    assert np.array_equal(mesh.faces, triangles.numpy())
    assert mesh.is_watertight and mesh.volume == pytest.approx(1 / 6)
    gltf = read_glb(tmp_path / "m.glb")
    shown = gltf.rows(gltf.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    np.testing.assert_allclose(shown, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]], atol=1e-4)  # linear


def test_a_single_time_has_no_animation(tmp_path, tetrahedron, read_glb):
    shape, triangles = tetrahedron
    write_animated_glb(tmp_path / "m.glb", shape[None], triangles, torch.ones(4, 3), torch.zeros(1))
    gltf = read_glb(tmp_path / "m.glb")
    assert "animations" not in gltf.json and "targets" not in gltf.json["meshes"][0]["primitives"][0]


def test_values_that_are_not_finite_are_refused(tmp_path, tetrahedron):
    shape, triangles = tetrahedron
    shape[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"vertices of .*m\.glb must be finite"):
        write_animated_glb(tmp_path / "m.glb", shape[None], triangles, torch.ones(4, 3), torch.zeros(1))
    assert list(tmp_path.iterdir()) == []
