from dataclasses import fields

import numpy as np
import pytest

from ds4d.core import progress_to
from ds4d.lift_training import find_models, load_models, pose_model

SIZES = {"num_poses": 5, "num_samples": 4000, "seed": 3}


@pytest.fixture
def two_squares(glb, tmp_path):
    """Squares of areas 1 (linear gray, 0.5) and 3 (blue), 10 units apart, one unused vertex far away, and two clips.

    In the first clip, of 3 seconds, everything moves 6 units along x. In the second, of 1 second, it grows from almost
    nothing to its size.
    """
    small = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [99, 99, 99]])
    large = small[:4] * [3, 1, 1] + [10, 0, 0]
    indices = glb.add([0, 1, 2, 0, 2, 3], "u2")
    glb.json["materials"] = [
        {"pbrMetallicRoughness": {"baseColorFactor": color}} for color in ([0.5, 0.5, 0.5, 1], [0, 0, 1, 1])
    ]
    primitives = [
        {"attributes": {"POSITION": glb.add(points)}, "indices": indices, "material": number}
        for number, points in enumerate((small, large))
    ]
    glb.json |= {"meshes": [{"primitives": primitives}], "nodes": [{"mesh": 0}]}
    glb.json["animations"] = [
        {
            "samplers": [{"input": glb.add([0, seconds]), "output": glb.add(values)}],
            "channels": [{"sampler": 0, "target": {"node": 0, "path": path}}],
        }
        for path, seconds, values in (
            ("translation", 3.0, [[0, 0, 0], [6, 0, 0]]),
            ("scale", 1.0, [[0.001, 0.001, 0.001], [1, 1, 1]]),
        )
    ]
    return glb.write(tmp_path / "squares.glb")


def points_of(model, pose=0):
    """The samples in space."""
    first_two = model.sample_barycentric.astype(np.float64)
    weights = np.concatenate((first_two, 1 - first_two.sum(1, keepdims=True)), 1)
    assert weights.min() >= 0
    return np.einsum("sk,skc->sc", weights, model.vertices[pose].astype(np.float64)[model.faces[model.sample_faces]])


def test_every_clip_is_normalized_by_itself(two_squares):
    model = pose_model(two_squares, **SIZES)
    assert model.name == "squares" and model.vertices.shape == (5, 8, 3) and model.faces.max() == 7
    moving, growing = model.vertices[:4].astype(np.float64), model.vertices[4].astype(np.float64)
    # The first clip covers x from 0 to 19 and y from 0 to 1: radius (9.5^2 + 0.5^2)^0.5.
    radius = (9.5**2 + 0.5**2) ** 0.5
    np.testing.assert_allclose(moving[0, 0, 1], -0.5 / radius, atol=1e-3)
    np.testing.assert_allclose(np.ptp(moving, 1), np.tile([13 / radius, 1 / radius, 0], (4, 1)), atol=2e-3)
    starts = moving[:, 0, 0] * radius + 9.5
    np.testing.assert_allclose(np.diff(starts), 6 / 4, atol=0.02)  # evenly spaced; float16 rounds
    assert 0 <= starts[0] < 6 / 4
    assert 0 < np.ptp(growing[:, 0]) < 13 / (6.5**2 + 0.5**2) ** 0.5


def test_samples_cover_area_evenly(two_squares):
    model = pose_model(two_squares, **SIZES)
    counts = np.bincount(model.sample_faces, minlength=4)
    np.testing.assert_allclose(counts, [500, 500, 1500, 1500], atol=2)
    vertices = model.vertices[0].astype(np.float64)
    low, high = vertices[4], vertices[6]
    places = (points_of(model)[model.sample_faces >= 2] - low)[:, :2] / (high - low)[:2]
    cells = np.histogram2d(*places.T, bins=(15, 5), range=((0, 1), (0, 1)))[0]
    assert cells.sum() == 3000 and cells.min() > 25 and cells.max() < 55  # 40 each; chance would leave some at 20


def test_samples_have_the_colors_of_their_faces(two_squares):
    model = pose_model(two_squares, **SIZES)
    assert np.unique(model.sample_colors[model.sample_faces < 2], axis=0).tolist() == [[188, 188, 188]]
    assert np.unique(model.sample_colors[model.sample_faces >= 2], axis=0).tolist() == [[0, 0, 255]]


def test_the_seed_decides(two_squares):
    first, same, other = (pose_model(two_squares, **{**SIZES, "seed": seed}) for seed in (1, 1, 2))
    for field in fields(first)[1:]:
        assert np.array_equal(getattr(first, field.name), getattr(same, field.name))
    assert not np.array_equal(first.vertices, other.vertices)
    assert not np.array_equal(first.sample_barycentric, other.sample_barycentric)


def test_fewer_poses_than_clips_come_from_the_longest(two_squares):
    (pose,) = pose_model(two_squares, **{**SIZES, "num_poses": 1}).vertices
    np.testing.assert_allclose(np.ptp(pose[:, 0]), 13 / (9.5**2 + 0.5**2) ** 0.5, atol=2e-3)


def test_a_static_model_has_one_pose(glb, two_squares):
    del glb.json["animations"]
    model = pose_model(glb.write(two_squares), **SIZES)
    (pose,) = model.vertices.astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(pose, axis=1).max(), 1, atol=1e-3)
    np.testing.assert_allclose(pose.min(0) + pose.max(0), 0, atol=1e-3)


def test_degenerate_poses_are_dropped(glb, two_squares):
    """Clips that shrink to nothing, jump away in between, and are not finite; the first one stays."""
    clips = (([0, 1], np.zeros((2, 3))), ([0, 0.49, 0.5, 0.51, 1], [[1] * 3] * 2 + [[1e6] * 3] + [[1] * 3] * 2))
    for seconds, values in (*clips, ([0, 1], np.full((2, 3), np.nan))):
        sampler = {"input": glb.add(seconds), "output": glb.add(values)}
        channel = {"sampler": 0, "target": {"node": 0, "path": "scale"}}
        glb.json["animations"].append({"samplers": [sampler], "channels": [channel]})
    model = pose_model(glb.write(two_squares), **{**SIZES, "num_poses": 200})
    assert 60 < len(model.vertices) < 200
    assert np.isfinite(model.vertices).all()
    distances = np.linalg.norm(model.vertices.astype(np.float64), axis=-1)
    assert distances.max() <= 1.501 and np.ptp(model.vertices, 1).max(1).min() > 0


def test_transparent_faces_have_no_samples(glb, two_squares):
    glb.json["materials"][1]["pbrMetallicRoughness"]["baseColorFactor"] = [0, 0, 1, 0]
    glb.json["materials"][1]["alphaMode"] = "BLEND"
    model = pose_model(glb.write(two_squares), **SIZES)
    np.testing.assert_allclose(np.bincount(model.sample_faces), [2000, 2000], atol=50)
    glb.json["materials"][0].update(glb.json["materials"][1])
    with pytest.raises(ValueError, match=r"squares\.glb must be visible"):
        pose_model(glb.write(two_squares), **SIZES)


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_files_are_listed(two_squares, tmp_path, workers):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "cut.GLB").write_bytes(two_squares.read_bytes()[:-100])
    (tmp_path / "notes.txt").write_text("not a model")
    files = find_models(tmp_path)
    assert [path.name for path in files] == ["cut.GLB", "squares.glb"]
    seen = []
    with progress_to(seen.append):
        models, broken = load_models(files, **SIZES, workers=workers)
    assert [model.name for model in models] == ["squares"]
    assert [path for path, _ in broken] == files[:1] and "cut.GLB" in broken[0][1]
    assert (seen[-1].done, seen[-1].total) == (2, 2)
    assert np.array_equal(models[0].vertices, pose_model(two_squares, **SIZES).vertices)


def test_nothing_that_can_be_read(tmp_path):
    with pytest.raises(ValueError, match="no files"):
        load_models([], **SIZES)
    (tmp_path / "a.glb").write_bytes(b"glTF")
    with pytest.raises(ValueError, match=r"a\.glb"):
        load_models([tmp_path / "a.glb", tmp_path / "missing.glb"], **SIZES)


def test_a_real_creature(data_dir):
    """A fox with a palette texture: its most frequent colors, and every pose inside the frame of its clip."""
    path = data_dir / "creatures" / "Mesh2Motion__fox.glb"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    model = pose_model(path, **SIZES)
    assert np.linalg.norm(model.vertices.astype(np.float64), axis=-1).max() < 1.1
    colors, counts = np.unique(model.sample_colors, axis=0, return_counts=True)
    common = colors[np.argsort(-counts)[:3]]
    np.testing.assert_allclose(common.astype(int), [[219, 135, 41], [255, 250, 242], [83, 52, 16]], atol=1)
