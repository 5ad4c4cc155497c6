"""Refinement of poses."""

from dataclasses import replace

import pytest
import torch

from ds4d.geometry import project_points
from ds4d.rendering import CpuRenderer
from ds4d.shapes import gaussians_from_points
from ds4d.shapes.registration.poses import Poses
from ds4d.shapes.registration.refinement import refine_poses
from ds4d.shapes.registration.targets import Targets, crop_views
from ds4d.types import PointCloud, RawGaussians


@pytest.fixture(scope="module")
def shape(creature: PointCloud) -> RawGaussians:
    positions, colors = creature.positions[:1500], creature.colors[:1500]
    return gaussians_from_points(positions, colors, opacity=0.95, sh_degree=0, scale_factor=0.4)


def nearby(**changes) -> Poses:
    """A pose with errors of 11 degrees, 10 % and some pixels."""
    pose = Poses(
        quats=torch.tensor([[1.0, 0.03, 0.09, -0.02]]),
        mirrored=torch.tensor([False]),
        scales=torch.tensor([1.1]),
        shifts=torch.tensor([[0.04, -0.03, 0.02]]),
    )
    return replace(pose, **changes)


def mean_error(pose: Poses, creature: PointCloud) -> float:
    return float((pose.apply(creature.positions)[0] - creature.positions).norm(dim=-1).mean())


def test_small_errors_are_corrected(creature: PointCloud, shape: RawGaussians, middle_views) -> None:
    targets = crop_views(*middle_views(3), 48)
    refined, score = refine_poses(nearby(), shape, targets, CpuRenderer(), colored=True, rate=0.03)
    assert mean_error(nearby(), creature) > 0.05
    assert mean_error(refined, creature) < 0.02
    assert score.silhouette_iou > 0.8
    assert not refined.mirrored.any()


def test_one_view_keeps_the_distance(shape: RawGaussians, middle_views) -> None:
    targets = crop_views(*middle_views(1), 48)
    refined, _ = refine_poses(nearby(), shape, targets, CpuRenderer(), colored=True, rate=0.03)
    _, before = project_points(nearby().shifts, targets.cameras)
    _, after = project_points(refined.shifts, targets.cameras)
    torch.testing.assert_close(after, before)
    assert (refined.shifts - nearby().shifts).norm() > 0.01


def test_wrong_colors_do_not_change_the_size(shape: RawGaussians, middle_views) -> None:
    """A white shape does not shrink to hide that the object is darker."""
    targets = crop_views(*middle_views(2), 48)
    white = replace(shape, sh=torch.full_like(shape.sh, 1.7))
    true = nearby(quats=torch.tensor([[1.0, 0, 0, 0]]), scales=torch.ones(1), shifts=torch.zeros(1, 3))
    sizes = []
    for gaussians, colored in ((white, True), (shape, False)):
        refined, _ = refine_poses(true, gaussians, targets, CpuRenderer(), colored=colored, rate=0.02)
        sizes.append(float(refined.scales))
    assert sizes[0] == pytest.approx(sizes[1], abs=0.01)


def test_poses_are_independent(shape: RawGaussians, middle_views) -> None:
    targets: Targets = crop_views(*middle_views(1), 24)
    other = nearby(mirrored=torch.tensor([True]))
    both = Poses(*(torch.cat([getattr(pose, name) for pose in (nearby(), other)]) for name in vars(other)))
    together, _ = refine_poses(both, shape, targets, CpuRenderer(), colored=True, rate=0.03)
    alone, _ = refine_poses(other, shape, targets, CpuRenderer(), colored=True, rate=0.03)
    torch.testing.assert_close(together.quats[1:], alone.quats)
    torch.testing.assert_close(together.shifts[1:], alone.shifts)
