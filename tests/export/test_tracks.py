"""Tracks of a ball of Gaussians with a known motion, read by NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.export import export_scene
from ds4d.export.tracks import farthest_points
from ds4d.geometry import rgb_to_sh
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

RADIUS, COUNT = 0.3, 1500
SHIFT = torch.tensor([0.0, 0.1, 0.05])


@pytest.fixture(scope="module")
def scene() -> BakedGaussians:
    """An opaque ball, red on the right and blue on the left, that rises for 2 s in a world twice as small."""
    steps = torch.arange(COUNT)
    height = 1 - (2 * steps + 1) / COUNT
    angle, ring = steps * 2.399963, (1 - height.square()).sqrt()
    directions = torch.stack((ring * angle.cos(), height, ring * angle.sin()), dim=1)
    red = (directions[:, :1] > 0).float()
    raw = RawGaussians(
        means=torch.stack([RADIUS * directions + (i - 1) * SHIFT for i in range(3)]),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(3, COUNT, 1),
        log_scales=torch.full((3, COUNT, 3), 0.02).log(),
        opacity_logits=torch.full((3, COUNT), 6.0),
        sh=rgb_to_sh(torch.cat((red, 0 * red, 1 - red), dim=1))[:, None],
    )
    return BakedGaussians(raw, Timeline((0.0, 0.5, 1.0), 2.0, False), Similarity(2.0, torch.eye(3), torch.zeros(3)))


@pytest.fixture(scope="module")
def tracks(scene: BakedGaussians, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("tracks") / "a.npz"
    assert export_scene(scene, path, points=200, resolution=24) == [path]
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_points_lie_on_the_surface_and_move_with_it(tracks: dict[str, np.ndarray]) -> None:
    """In the world of the input, in which lengths are half of those of normalized space."""
    positions = tracks["positions"]
    assert positions.shape == (3, 200, 3) and positions.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(positions[1], axis=1), 0.16, atol=0.015)
    for index in range(3):
        np.testing.assert_allclose(
            positions[index] - positions[1], (index - 1) * SHIFT.numpy()[None] / 2 + 0 * positions[1], atol=1e-4
        )
    np.testing.assert_array_equal(tracks["times"], np.float32([0, 0.5, 1]))
    np.testing.assert_array_equal(tracks["seconds"], np.float32([0, 1, 2]))
    np.testing.assert_array_equal(np.stack((tracks["up"], tracks["front"])), np.float32([[0, 1, 0], [0, 0, 1]]))


def test_points_cover_the_object_evenly(tracks: dict[str, np.ndarray]) -> None:
    points = tracks["positions"][1]
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(len(points))
    assert distances.min(1).min() > 0.5 * distances.min(1).max()


def test_colors_and_visibility(tracks: dict[str, np.ndarray]) -> None:
    points = tracks["positions"][1]
    clear = np.abs(points[:, 0]) > 0.05
    right = points[clear, 0] > 0
    colors = tracks["colors"][clear].astype(int)
    assert ((colors[:, 0] > 200) == right).all() and ((colors[:, 2] > 200) != right).all()
    visible = tracks["visible"]
    assert visible.shape == (3, 200) and visible.dtype == bool
    assert visible[:, points[:, 2] > 0.1].all() and not visible[:, points[:, 2] < 0].any()


def test_z_up(scene: BakedGaussians, tmp_path: Path, tracks: dict[str, np.ndarray]) -> None:
    (path,) = export_scene(scene, tmp_path / "a.npz", points=200, resolution=24, up="z", times=[0.5])
    turned = np.load(path)
    np.testing.assert_allclose(turned["positions"][0], tracks["positions"][1][:, [0, 2, 1]] * [1, -1, 1], atol=1e-6)
    np.testing.assert_array_equal(np.stack((turned["up"], turned["front"])), np.float32([[0, 0, 1], [0, -1, 0]]))


def test_there_are_no_more_points_than_vertices() -> None:
    assert sorted(farthest_points(torch.eye(3), 9).tolist()) == [0, 1, 2]


def test_at_least_one_point_is_needed(scene: BakedGaussians, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="points"):
        export_scene(scene, tmp_path / "a.npz", points=0)
    assert list(tmp_path.iterdir()) == []
