"""Poses, which may mirror."""

import pytest
import torch

from ds4d.geometry import quats_to_matrices
from ds4d.shapes.registration.poses import Poses, angles_between

QUARTER_ABOUT_Z = (0.5**0.5, 0.0, 0.0, 0.5**0.5)


def two_poses() -> Poses:
    """A rotation by 90 degrees about z with scale 2 and a translation, without and with mirroring."""
    quats = torch.tensor([QUARTER_ABOUT_Z, QUARTER_ABOUT_Z])
    return Poses(quats, torch.tensor([False, True]), torch.tensor([2.0, 2.0]), torch.tensor([[0.0, 0, 1], [0, 0, 3]]))


def test_order_is_mirror_rotate_scale_translate() -> None:
    placed = two_poses().apply(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    torch.testing.assert_close(placed[0], torch.tensor([[0.0, 2, 1], [-2, 0, 1]]))
    torch.testing.assert_close(placed[1], torch.tensor([[0.0, -2, 3], [-2, 0, 3]]))


def test_mirrored_poses_have_negative_determinant() -> None:
    torch.testing.assert_close(torch.linalg.det(two_poses().orientations), torch.tensor([1.0, -1.0]))


def test_select_keeps_the_order() -> None:
    selected = two_poses().select(torch.tensor([1, 0]))
    assert selected.mirrored.tolist() == [True, False]
    assert selected.shifts[:, 2].tolist() == [3.0, 1.0]


def test_angles_between() -> None:
    orientations = two_poses().orientations
    torch.testing.assert_close(angles_between(orientations, torch.eye(3)), torch.tensor([90.0, 180.0]))
    small = quats_to_matrices(torch.tensor([1.0, 0.0, torch.pi / 360, 0.0]))  # a degree
    assert angles_between(small, torch.eye(3)).item() == pytest.approx(1.0, abs=0.02)
