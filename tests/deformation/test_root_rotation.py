"""The rotation of the whole object about the vertical axis."""

import math

import pytest
import torch
from torch import Tensor

from ds4d.deformation import RootRotation
from ds4d.geometry import quats_to_matrices
from ds4d.types import RawGaussians

TIMES = torch.tensor([0.0, 0.2, 0.6, 1.0])
ANGLES = torch.tensor([-0.4, -0.1, 0.0, 1.2])


def rotation(times: Tensor, origin: int, angles: Tensor) -> RootRotation:
    root = RootRotation(times, origin)
    with torch.no_grad():
        root.steps.copy_(angles.diff())
    return root


def test_angles_add_up_from_0_at_the_canonical_frame() -> None:
    torch.testing.assert_close(rotation(TIMES, 2, ANGLES).angles(), ANGLES)
    torch.testing.assert_close(rotation(TIMES, 1, ANGLES).angles(), ANGLES + 0.1)
    assert not RootRotation(TIMES, 1).angles().any()


def test_angles_are_linear_between_frames_and_constant_beyond() -> None:
    root = rotation(TIMES[:3], 2, ANGLES[:3])
    asked = torch.tensor([0.0, 0.1, 0.2, 0.5, 0.6, 1.0])
    expected = torch.tensor([-0.4, -0.25, -0.1, -0.025, 0.0, 0.0])
    torch.testing.assert_close(root.at(asked), expected, atol=1e-6, rtol=1e-6)


def test_a_quarter_turn_brings_the_front_to_the_right() -> None:
    """Seen from above, counterclockwise: what faced +z faces +x."""
    root = rotation(torch.tensor([0.0, 1.0]), 0, torch.tensor([0.0, math.pi / 2]))
    points = torch.tensor([[[0.0, 0.3, 1.0], [1.0, 0.0, 0.0]]])
    turned = root.points(points, torch.tensor([1.0]))
    torch.testing.assert_close(turned, torch.tensor([[[1.0, 0.3, 0.0], [0.0, 0.0, -1.0]]]), atol=1e-6, rtol=0)


def test_points_on_the_axis_stay() -> None:
    root = rotation(TIMES, 2, ANGLES)
    with torch.no_grad():
        root.shift.copy_(torch.tensor([2.0, -1.0]))
    points = torch.tensor([0.2, 0.7, -0.1]).expand(4, 1, 3)
    torch.testing.assert_close(root.points(points, TIMES), points)


def test_gaussians_turn_with_their_centers(tiny_gaussians: RawGaussians) -> None:
    root = rotation(TIMES, 2, ANGLES)
    moved = tiny_gaussians.expand_times(4)
    turned = root.gaussians(moved, TIMES)
    tips = moved.means + quats_to_matrices(moved.quats)[..., 0]
    expected = root.points(tips, TIMES)
    torch.testing.assert_close(turned.means + quats_to_matrices(turned.quats)[..., 0], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(turned.log_scales, moved.log_scales)


def test_the_turn_is_what_lies_between_the_outermost_angles() -> None:
    assert rotation(TIMES, 2, ANGLES).turn().item() == pytest.approx(1.6)
    assert rotation(TIMES, 2, -ANGLES).turn().item() == pytest.approx(1.6)
    assert RootRotation(TIMES, 0).turn().item() == 0


def test_gradients_find_the_turn_of_known_points(generator: torch.Generator) -> None:
    points = torch.rand(50, 3, generator=generator) - 0.5
    truth = rotation(TIMES, 2, ANGLES).points(points.expand(4, -1, -1), TIMES).detach()
    root = RootRotation(TIMES, 2)
    optimizer = torch.optim.SGD(root.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        error(root, points, truth).backward()
        optimizer.step()
    torch.testing.assert_close(root.angles().detach(), ANGLES, atol=1e-2, rtol=0)


def error(root: RootRotation, points: Tensor, truth: Tensor) -> Tensor:
    return (root.points(points.expand(4, -1, -1), TIMES) - truth).square().sum(-1).mean()
