"""The coarse search."""

from collections.abc import Callable

import torch

from ds4d.geometry import orbit_cameras
from ds4d.init.registration.poses import angles_between
from ds4d.init.registration.search import nearest_points, search_poses
from ds4d.init.registration.targets import extract_mattes
from ds4d.types import PointCloud


def test_a_pixel_shows_its_nearest_point() -> None:
    cameras = orbit_cameras([0.0, 180.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=9, height=9)
    points = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, -0.1], [0.3, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    shown = nearest_points(points[None], cameras)[0].view(2, 9, 9)
    assert shown[0, 4, 4] == 0 and shown[1, 4, 4] == 1  # from before, and from behind; the last one is behind the first
    assert shown[0, 4].tolist().count(2) == 1 and shown[0, 4].tolist().index(2) > 4  # to the right
    assert shown[1, 4].tolist().index(2) < 4
    assert (shown[0] == len(points)).sum() == 79  # nothing elsewhere


def test_every_pose_is_drawn_by_itself() -> None:
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    points = torch.randn(3, 20, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    together = nearest_points(points, cameras)
    for row in range(3):
        assert torch.equal(together[row], nearest_points(points[row : row + 1], cameras)[0])


def test_poses_near_the_true_one_are_found_and_differ_from_each_other(
    creature: PointCloud, middle_views: Callable, random_turn: Callable
) -> None:
    images, cameras, weights = middle_views(4)
    turn = random_turn(5, mirrored=True)
    positions = (creature.positions - creature.positions.mean(0))[:300] @ turn.T
    found = search_poses(positions, creature.colors[:300], extract_mattes(images, cameras, weights, 24), keep=6)
    angles = angles_between(found.turns, turn.T)  # the inverse brings the creature back
    assert angles.min() < 20
    nearest = int(angles.argmin())
    assert 0.75 < found.scales[nearest] < 1.25
    placed = found.apply(positions)[nearest].mean(0)
    torch.testing.assert_close(placed, creature.positions.mean(0), atol=0.05, rtol=0)
    between = angles_between(found.turns[:, None], found.turns)
    assert between.fill_diagonal_(180).min() >= 25
