"""A textured mesh that follows the Gaussians of another surface of the same shape, whose motion is known."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from ds4d.export.retarget import align_surface, animate_model, read_model
from ds4d.export.retarget.moving_glb import write_moving_glb
from ds4d.geometry import rgb_to_sh, transform_points
from ds4d.io import read_gltf
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

ANGLES = (0.0, 0.3, 0.6)  # of the arm, radians, at each frame
SHOULDER = torch.tensor([0.1, 0.2, 0.0])


def body() -> trimesh.Trimesh:
    """A trunk with an arm to its left and a nose to its front: no turn maps it to itself."""
    parts = [
        trimesh.creation.box((0.2, 0.6, 0.16)),
        trimesh.creation.box((0.3, 0.1, 0.1)).apply_translation((0.25, 0.2, 0)),
        trimesh.creation.box((0.08, 0.08, 0.2)).apply_translation((0, 0.2, 0.18)),
    ]
    mesh = trimesh.util.concatenate(parts)
    return mesh.subdivide_to_size(0.04)


def raised(points: torch.Tensor, angle: float) -> torch.Tensor:
    """The points of the body with the arm raised about the shoulder."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float32)
    return torch.where((points[:, :1] > 0.1001), SHOULDER + (points - SHOULDER) @ turn.T, points)


@pytest.fixture(scope="module")
def scene() -> BakedGaussians:
    points, _ = trimesh.sample.sample_surface(body(), 4000, seed=0)
    centers, count = torch.from_numpy(np.asarray(points)).float(), len(points)
    frames = RawGaussians(
        means=torch.stack([raised(centers, angle) for angle in ANGLES]),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(3, count, 1),
        log_scales=torch.full((3, count, 3), 0.01).log(),
        opacity_logits=torch.full((3, count), 4.0),
        sh=rgb_to_sh(torch.full((count, 1, 3), 0.5)),
    )
    return BakedGaussians(frames, Timeline((0.0, 0.5, 1.0), 2.0, False), Similarity.identity())


def texture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def own_mesh(path: Path, placed: Similarity, ending: str = ".glb") -> Path:
    """The body, seven times as large, elsewhere, textured, with a seam: every triangle has vertices of its own."""
    mesh = body()
    mesh.unmerge_vertices()
    vertices = transform_points(placed, torch.from_numpy(np.asarray(mesh.vertices)).float()).numpy()
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.open(BytesIO(texture())), roughnessFactor=0.3)
    uvs = np.random.default_rng(0).random((len(vertices), 2))
    visual = trimesh.visual.TextureVisuals(uv=uvs, material=material)
    whole = trimesh.Trimesh(vertices, mesh.faces, visual=visual, process=False)
    file = path / f"mine{ending}"
    trimesh.Scene([whole]).export(file)
    return file


def yaw(degrees: float) -> torch.Tensor:
    angle = np.radians(degrees)
    return torch.tensor(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], dtype=torch.float32
    )


@pytest.mark.parametrize("turn", [0.0, 90.0])
def test_the_mesh_moves_like_the_object(scene: BakedGaussians, tmp_path: Path, turn: float) -> None:
    placed = Similarity(7.0, yaw(-turn), torch.tensor([10.0, 0.0, 3.0]))
    file = own_mesh(tmp_path, placed)
    source = read_model(file)
    times = torch.tensor([0.0, 0.5, 1.0])
    alignment = animate_model(scene, source, tmp_path / "out.glb", times)
    assert (alignment.time, alignment.yaw_deg) == (0.0, turn) and alignment.distance < 0.02
    assert alignment.similarity.scale == pytest.approx(1 / 7, rel=0.02)
    model = read_gltf(tmp_path / "out.glb")
    rest = source.vertices_at(None, 0.0)
    np.testing.assert_allclose(model.vertices_at(None, 0.0), rest, atol=1e-4)
    assert [clip.seconds for clip in model.clips] == [2.0]
    back = Similarity(1 / 7, placed.rotation.T, -(placed.rotation.T @ placed.translation) / 7)
    inner = transform_points(back, torch.from_numpy(rest))
    for second, angle in zip((0.0, 1.0, 2.0), ANGLES, strict=True):
        found = transform_points(back, torch.from_numpy(model.vertices_at(0, second)))
        errors = (found - raised(inner, angle)).norm(dim=1)
        assert errors.median() < 0.01 and errors.quantile(0.9) < 0.05  # the body is 0.6 high
    moved = (torch.from_numpy(model.vertices_at(0, 2.0) - rest)).norm(dim=1) / 7
    assert moved[inner[:, 0] > 0.35].min() > 0.1 and moved[inner[:, 0] < 0].max() < 0.02


def test_materials_and_textures_stay_and_seams_stay_closed(scene: BakedGaussians, tmp_path: Path) -> None:
    file = own_mesh(tmp_path, Similarity(7.0, torch.eye(3), torch.zeros(3)))
    source = read_model(file)
    animate_model(scene, source, tmp_path / "out.glb", torch.tensor([0.0, 0.5, 1.0]), pose_time=0.0, yaw_deg=0.0)
    model = read_gltf(tmp_path / "out.glb")
    ours, theirs = model.document, source.document
    for kind in ("materials", "textures", "samplers"):
        assert ours.items(kind) == theirs.items(kind)
    assert ours.image(0) == theirs.image(0)
    (part,), (before,) = model.parts, source.parts
    assert "NORMAL" in before.source["attributes"] or "NORMAL" not in part.source["attributes"]
    uvs = [m.document.floats(p.source["attributes"]["TEXCOORD_0"]) for m, p in ((model, part), (source, before))]
    np.testing.assert_array_equal(*uvs)
    np.testing.assert_array_equal(model.faces, source.faces)
    rest, last = model.vertices_at(None, 0.0), model.vertices_at(0, 2.0)
    _, groups = np.unique(rest, axis=0, return_inverse=True)
    for group in range(0, groups.max(), 50):
        assert np.ptp(last[groups.reshape(-1) == group], axis=0).max() < 1e-5


def test_normals_turn_with_the_surface(scene: BakedGaussians, tmp_path: Path, glb) -> None:
    """A plate along the arm, with normals that point up; when the arm is raised they lean back."""
    grid = np.stack(np.meshgrid(np.linspace(0.2, 0.4, 5), [0.25], np.linspace(-0.05, 0.05, 3), indexing="ij"), -1)
    points = grid.reshape(-1, 3).astype(np.float32)
    corner = [3 * i + j for i in range(4) for j in range(2)]
    faces = [[a, a + 1, a + 3] for a in corner] + [[a + 1, a + 4, a + 3] for a in corner]
    primitive = {
        "attributes": {"POSITION": glb.add(points), "NORMAL": glb.add(np.tile([0, 1.0, 0], (15, 1)))},
        "indices": glb.add(np.ravel(faces), "u4"),
    }
    glb.json |= {"meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    model = read_model(glb.write(tmp_path / "plate.glb"))
    rest = model.vertices_at(None, 0.0)
    positions = np.stack([raised(torch.from_numpy(rest), angle).numpy() for angle in ANGLES])
    write_moving_glb(tmp_path / "out.glb", model, rest, positions, np.float32([0, 1, 2]))
    document = read_gltf(tmp_path / "out.glb").document
    (written,) = document.items("meshes")[0]["primitives"]
    normals = document.floats(written["attributes"]["NORMAL"]) + document.floats(written["targets"][2]["NORMAL"])
    expected = [-np.sin(ANGLES[2]), np.cos(ANGLES[2]), 0]
    np.testing.assert_allclose(normals, np.tile(expected, (15, 1)), atol=1e-4)


@pytest.mark.parametrize("ending", [".obj", ".ply"])
def test_other_files_are_read(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"mine{ending}"
    body().export(file)
    model = read_model(file)
    assert len(model.faces) == len(body().faces)
    np.testing.assert_allclose(model.vertices_at(None, 0.0).max(0), body().vertices.max(0), atol=1e-5)


def test_z_up_meshes_become_y_up(scene: BakedGaussians, tmp_path: Path) -> None:
    file = tmp_path / "mine.obj"
    mesh = body()
    mesh.vertices = mesh.vertices[:, [0, 2, 1]] * [1, -1, 1]
    mesh.export(file)
    alignment = animate_model(scene, read_model(file), tmp_path / "out.glb", torch.tensor([0.0, 1.0]), up="z")
    assert alignment.distance < 0.02 and alignment.yaw_deg == 0
    rest = read_gltf(tmp_path / "out.glb").vertices_at(None, 0.0)
    assert np.ptp(rest, axis=0).argmax() == 1 or np.ptp(rest, axis=0)[1] == pytest.approx(0.6, abs=1e-3)


def test_a_mesh_of_another_shape_is_reported(scene: BakedGaussians, tmp_path: Path, caplog) -> None:
    file = tmp_path / "mine.obj"
    trimesh.creation.box((1, 0.02, 1)).export(file)
    alignment = animate_model(scene, read_model(file), tmp_path / "out.glb", torch.tensor([0.0, 1.0]))
    assert alignment.distance > 0.05 and "--pose-time" in caplog.text


@pytest.mark.parametrize(
    ("name", "content"), [("a.fbx", b"x"), ("a.glb", b"glTF"), ("a.obj", b"v 0 0 0\n"), ("a.ply", b"ply\n")]
)
def test_files_that_are_no_meshes(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_model(tmp_path / name)
    with pytest.raises(ValueError, match=r"none\.glb"):
        read_model(tmp_path / "none.glb")


def test_alignment_prefers_the_front_where_both_sides_fit() -> None:
    """A box fits after half a turn just as well."""
    points = torch.from_numpy(np.asarray(trimesh.creation.box((0.3, 0.6, 0.1)).sample(3000, seed=1))).float()
    other = torch.from_numpy(np.asarray(trimesh.creation.box((0.3, 0.6, 0.1)).sample(3000, seed=2))).float()
    assert align_surface(points, [other], [0.5]).yaw_deg == 0
