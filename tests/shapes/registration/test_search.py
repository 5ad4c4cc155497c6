"""Coarse search of the pose."""

from collections.abc import Callable

import torch

from ds4d.geometry import orbit_cameras
from ds4d.shapes.registration.poses import angles_between
from ds4d.shapes.registration.search import nearest_points, search_poses
from ds4d.shapes.registration.targets import crop_views
from ds4d.types import PointCloud


def test_pixels_show_their_nearest_point() -> None:
    cameras = orbit_cameras([0.0, 180.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=9, height=9)
    points = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, -0.1], [0.3, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    shown = nearest_points(points[None], cameras)[0].view(2, 9, 9)
    assert shown[0, 4, 4] == 0 and shown[1, 4, 4] == 1  # front and back; the last point is behind the first camera
    assert shown[0, 4].tolist().count(2) == 1 and shown[0, 4].tolist().index(2) > 4  # to the right
    assert shown[1, 4].tolist().index(2) < 4
    assert (shown[0] == len(points)).sum() == 79  # the other pixels are empty


def test_poses_are_rendered_independently() -> None:
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    points = torch.randn(3, 20, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    together = nearest_points(points, cameras)
    for row in range(3):
        assert torch.equal(together[row], nearest_points(points[row : row + 1], cameras)[0])


def test_found_poses_are_distinct_and_one_is_near_the_truth(
    creature: PointCloud, middle_views: Callable, random_orientation: Callable
) -> None:
    images, cameras, weights = middle_views(4)
    orientation = random_orientation(5, mirrored=True)
    positions = (creature.positions - creature.positions.mean(0))[:300] @ orientation.T
    found = search_poses(positions, creature.colors[:300], crop_views(images, cameras, weights, 24), keep=6)
    angles = angles_between(found.orientations, orientation.T)  # the inverse is the true pose
    assert angles.min() < 20
    nearest = int(angles.argmin())
    assert 0.75 < found.scales[nearest] < 1.25
    center = found.apply(positions)[nearest].mean(0)
    torch.testing.assert_close(center, creature.positions.mean(0), atol=0.05, rtol=0)
    between = angles_between(found.orientations[:, None], found.orientations)
    assert between.fill_diagonal_(180).min() >= 25
