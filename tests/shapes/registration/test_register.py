"""Registration of shapes in any pose."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.data import FolderConfig, load_views
from ds4d.geometry import project_points
from ds4d.rendering import CpuRenderer
from ds4d.shapes.registration import Registration, register_shape
from ds4d.types import MultiViewVideo, PointCloud

UP = torch.tensor([0.0, 1.0, 0.0])
SCALE, SHIFT = 37.0, torch.tensor([5.0, -200.0, 11.0])  # of the shape in its own space


def moved(positions: Float[Tensor, "N 3"], orientation: Float[Tensor, "3 3"]) -> Float[Tensor, "N 3"]:
    """A shape in the space of another program."""
    return SCALE * positions @ orientation.T + SHIFT


def check_pose(found: Registration, orientation: Float[Tensor, "3 3"], *, degrees: float, size: float) -> None:
    """Checks that the matrix is the inverse of `moved`."""
    rest = found.matrix[:3, :3] @ (SCALE * orientation)
    scale = torch.linalg.det(rest).abs().pow(1 / 3)
    assert torch.linalg.det(rest) > 0
    angle = torch.rad2deg(torch.arccos((((rest / scale).trace() - 1) / 2).clamp(-1, 1)))
    assert angle < degrees
    assert scale.item() == pytest.approx(1, abs=size)


def test_mirrored_shape_in_any_pose(creature: PointCloud, middle_views: Callable, random_orientation: Callable) -> None:
    """The shape is unlit and the views are lit, so that their colors differ."""
    orientation = random_orientation(3, mirrored=True)
    found = register_shape(
        moved(creature.positions, orientation), creature.colors, *middle_views(7), CpuRenderer(), up=UP
    )
    check_pose(found, orientation, degrees=2, size=0.08)
    assert (found.positions - creature.positions).norm(dim=-1).mean() < 0.02  # a pixel is 0.025
    assert found.silhouette_iou > 0.85 and found.color_error is not None and found.color_error < 0.15
    assert found.orientation.mirrored and found.knows_distance
    torch.testing.assert_close(
        moved(creature.positions, orientation) @ found.matrix[:3, :3].T + found.matrix[:3, 3],
        found.positions,
        atol=1e-4,
        rtol=0,
    )
    metrics = found.metrics()
    assert metrics["scale"] == pytest.approx(1 / SCALE, rel=0.08)
    assert metrics["silhouette_iou"] == found.silhouette_iou and metrics["up_axis"] == found.orientation.up_axis


def test_colors_distinguish_front_from_back_with_one_view(
    creature: PointCloud, middle_views: Callable, random_orientation: Callable
) -> None:
    """The distance is unknown with one view; points project to the right pixels nevertheless."""
    orientation = random_orientation(8, mirrored=False)
    images, cameras, weights = middle_views(1)
    found = register_shape(
        moved(creature.positions, orientation), creature.colors, images, cameras, weights, CpuRenderer(), up=UP
    )
    assert not found.knows_distance and not found.orientation.mirrored
    linear = found.matrix[:3, :3] @ (SCALE * orientation)
    angle = torch.rad2deg(torch.arccos(((linear / torch.linalg.det(linear).pow(1 / 3)).trace() - 1) / 2))
    assert angle < 3
    pixels, _ = project_points(found.positions, cameras)
    true_pixels, _ = project_points(creature.positions, cameras)
    assert (pixels - true_pixels).norm(dim=-1).mean() < 1


def test_silhouettes_of_several_views_suffice(data_dir: Path, random_orientation: Callable) -> None:
    """A recorded set, with 2048 points of its surface without colors."""
    folder = data_dir / "gltf" / "barbarian-run"
    video = load_views(folder, FolderConfig(splits=("front", "mv"), size=128))
    points = torch.from_numpy(np.load(folder / "points.npy")[video.middle].astype(np.float32))
    orientation = random_orientation(4, mirrored=True)
    images, cameras = middle_of(video)
    found = register_shape(moved(points, orientation), None, images, cameras, torch.ones(7), CpuRenderer(), up=UP)
    check_pose(found, orientation, degrees=2, size=0.08)
    assert (found.positions - points).norm(dim=-1).mean() < 0.015
    assert found.silhouette_iou > 0.85 and found.color_error is None


def middle_of(video: MultiViewVideo):
    views = torch.arange(video.num_views)
    times = torch.full_like(views, video.middle)
    return video.gather(times, views), video.cameras.at_time(video.middle)


def test_symmetric_shape_is_not_mirrored(middle_views: Callable) -> None:
    """A sphere matches no better when mirrored; equal input gives equal bits."""
    directions = torch.randn(800, 3, generator=torch.Generator().manual_seed(0))
    ball = torch.nn.functional.normalize(directions, dim=-1)
    found, again = (register_shape(ball, None, *middle_views(1), CpuRenderer(), up=UP) for _ in range(2))
    assert not found.orientation.mirrored
    assert 0.3 < found.silhouette_iou < 0.75
    assert torch.equal(again.matrix, found.matrix)
