"""Points from files that other programs wrote."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from ds4d.gaussians import read_points


def cloud(path: Path, points: np.ndarray) -> Path:
    trimesh.PointCloud(points).export(path)
    return path


def test_a_small_cloud_is_taken_whole(tmp_path: Path, rng: np.random.Generator, generator: torch.Generator) -> None:
    points = rng.random((7, 3)).astype(np.float32)
    read = read_points(cloud(tmp_path / "cloud.ply", points), 100, generator)
    np.testing.assert_allclose(read.numpy(), points)


def test_of_a_large_cloud_a_random_part_is_taken(
    tmp_path: Path, rng: np.random.Generator, generator: torch.Generator
) -> None:
    path = cloud(tmp_path / "cloud.ply", rng.random((200, 3)).astype(np.float32))
    everything = {tuple(row) for row in read_points(path, 200, generator).tolist()}
    part = {tuple(row) for row in read_points(path, 50, torch.Generator().manual_seed(1)).tolist()}
    again = {tuple(row) for row in read_points(path, 50, torch.Generator().manual_seed(1)).tolist()}
    assert len(part) == 50 and part < everything
    assert part == again


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_a_mesh_is_sampled_over_its_surface(tmp_path: Path, suffix: str, generator: torch.Generator) -> None:
    """A box of two units' width has as many points on one side as on another, all of them one unit from the middle."""
    path = tmp_path / f"box{suffix}"
    trimesh.creation.box((2.0, 2.0, 2.0)).export(path)
    points = read_points(path, 3000, generator)
    assert points.shape == (3000, 3)
    torch.testing.assert_close(points.abs().amax(-1), torch.ones(3000))
    sides = torch.bincount(2 * points.abs().argmax(-1) + (points.sum(-1) > 0))
    assert sides.min() > 350  # 500 a side, give or take 20 (one standard deviation)


def test_a_missing_file_is_named(tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"absent\.ply must exist"):
        read_points(tmp_path / "absent.ply", 10, generator)


@pytest.mark.parametrize("content", [b"", b"ply\nformat ascii", b"\x00\x01\x02"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, generator: torch.Generator) -> None:
    path = tmp_path / "damaged.ply"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.ply must be a PLY, OBJ or GLB file"):
        read_points(path, 10, generator)


def test_points_that_are_not_finite_raise(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "points.obj"
    path.write_text("v 0 0 0\nv nan 1 1\n")
    with pytest.raises(ValueError, match=r"points\.obj must hold finite points"):
        read_points(path, 10, generator)
