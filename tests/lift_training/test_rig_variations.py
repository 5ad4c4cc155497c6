import numpy as np
import pytest

from ds4d.io import RigVariation, read_gltf
from ds4d.lift_training.posed_models import pose_model
from ds4d.lift_training.rig_variations import RigVariationSettings, random_variation

# A root that carries a spine, from which two arms and a head hang.
NAMES = ["root", "spine", "Arm.L", "Arm.R", "LeftHand", "RightHand", "hand_l_tip", "hand_r_tip", "Head"]
PARENTS = np.array([-1, 0, 1, 1, 2, 3, 4, 5, 1])


def variation(**settings: float) -> RigVariation:
    found = random_variation(NAMES, PARENTS, RigVariationSettings(chance=1.0, **settings), np.random.default_rng(0))
    assert found is not None
    return found


def test_left_and_right_are_equally_large_and_turn_on_their_own() -> None:
    found = variation()
    for left, right in ((2, 3), (4, 5), (6, 7)):
        assert found.lengths[left] == found.lengths[right]
        np.testing.assert_array_equal(found.girths[left], found.girths[right])
        assert np.abs(found.turns[left] - found.turns[right]).max() > 1e-3
    assert len(set(found.lengths)) == 6


def test_what_carries_most_of_the_object_is_not_turned() -> None:
    turned = np.abs(variation().turns - np.eye(3)).max((1, 2)) > 0
    assert turned.tolist() == [False, False, *[True] * 7]


def test_chances_and_sizes_of_zero_change_nothing() -> None:
    never = RigVariationSettings(chance=0.0)
    assert random_variation(NAMES, PARENTS, never, np.random.default_rng(0)) is None
    same = variation(length=0.0, girth=0.0, turn=0.0)
    assert (same.lengths == 1).all() and (same.girths == 1).all() and (same.turns == np.eye(3)).all()


def test_nodes_without_names_are_no_pairs() -> None:
    found = random_variation([""] * 5, np.arange(5) - 1, RigVariationSettings(chance=1.0), np.random.default_rng(0))
    assert found is not None and len(set(found.lengths)) == 5


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="turn"):
        RigVariationSettings(turn=91.0)


def arm(glb, tmp_path):
    """A triangle on a node at height 2 whose child, at height 3, carries another."""
    indices = glb.add([0, 1, 2], "u2")
    positions = glb.add(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32))
    glb.json["meshes"] = [{"primitives": [{"attributes": {"POSITION": positions}, "indices": indices}]}]
    glb.json["nodes"] = [
        {"mesh": 0, "translation": [0, 2, 0], "children": [1]},
        {"mesh": 0, "translation": [0, 1, 0]},
    ]
    return glb.write(tmp_path / "arm.glb")


def test_a_variation_of_a_model(glb, tmp_path) -> None:
    """Lengths move a node and what hangs on it, turns turn both, and girths scale the surface of the node alone."""
    model = read_gltf(arm(glb, tmp_path))
    assert model.node_parents.tolist() == [-1, 0]
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    varied = RigVariation(np.array([2.0, 3.0]), np.stack([quarter, np.eye(3)]), np.array([[5.0, 1, 1], [1.0, 1, 1]]))
    vertices = model.vertices_over(None, np.zeros(1), varied)[0]
    np.testing.assert_allclose(vertices[:3], [[0, 4, 0], [0, 9, 0], [-1, 4, 0]], atol=1e-6)
    np.testing.assert_allclose(vertices[3:], [[-3, 4, 0], [-3, 5, 0], [-4, 4, 0]], atol=1e-6)


def test_poses_are_of_other_characters_and_normalized(glb, tmp_path) -> None:
    path = arm(glb, tmp_path)
    seconds = glb.add([0.0, 1.0])
    turns = glb.add([[0, 0, 0, 1], [0, 0, 0.5**0.5, 0.5**0.5]])
    glb.json["animations"] = [
        {
            "samplers": [{"input": seconds, "output": turns}],
            "channels": [{"sampler": 0, "target": {"node": 1, "path": "rotation"}}],
        }
    ]
    path = glb.write(tmp_path / "arm.glb")
    plain, varied = (
        pose_model(path, num_poses=6, num_samples=100, seed=0, variations=RigVariationSettings(chance=chance))
        for chance in (0.0, 1.0)
    )
    assert plain.vertices.shape == varied.vertices.shape == (6, 6, 3)
    radii = np.linalg.norm(varied.vertices.astype(float), axis=-1).max(1)
    assert (radii < 1.05).all() and np.abs(plain.vertices - varied.vertices).max() > 0.05
