import numpy as np
import torch

from ds4d.lift_training import PosedModel
from ds4d.lift_training.model_pool import PROCEDURAL, ModelPool
from ds4d.lift_training.procedural import random_creature, random_creatures


def test_creatures_are_whole_and_of_unit_size() -> None:
    for model in random_creatures(20, num_poses=3, num_samples=500, seed=4):
        vertices = model.vertices.astype(np.float32)
        assert vertices.shape[0] == 3 and np.isfinite(vertices).all()
        assert 0.9 < np.linalg.norm(vertices, axis=-1).max() < 1.01
        assert model.faces.min() == 0 and model.faces.max() == vertices.shape[1] - 1
        assert model.sample_faces.shape == (500,) and model.sample_faces.max() < len(model.faces)
        assert len(np.unique(model.sample_colors, axis=0)) > 3


def test_creatures_have_two_sides_and_move() -> None:
    for seed in range(6):
        model = random_creature(seed, num_poses=4, num_samples=100)
        left = (model.vertices[..., 0] < 0).mean()
        assert 0.25 < left < 0.75
        assert not np.allclose(model.vertices[0], model.vertices[1], atol=1e-3)


def test_equal_seeds_make_equal_creatures() -> None:
    a, b, other = (random_creature(seed, num_poses=2, num_samples=50) for seed in (7, 7, 8))
    for name in vars(a):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    assert a.vertices.shape != other.vertices.shape or not np.array_equal(a.vertices, other.vertices)


def test_each_kind_of_model_has_its_share(make_sphere) -> None:
    models: list[PosedModel] = [make_sphere(), make_sphere(poses=2), make_sphere(poses=2), make_sphere(poses=3)]
    shares = {"animated": 0.5, "static": 0.2, "procedural": 0.3}
    pool = ModelPool(models, ["a", "b", "b", PROCEDURAL], torch.device("cpu"), shares=shares)
    torch.testing.assert_close(pool.chances, torch.tensor([0.2, 0.25, 0.25, 0.3]))
