"""Bones found in the motion of an arm whose bones, weights and elbow are known."""

import math

import pytest
import torch

from ds4d.export.mesh.bones import Bones, find_bones
from ds4d.export.mesh.joints import place_joints
from ds4d.geometry import quats_to_matrices

RINGS, AROUND, TIMES = 61, 12, 9
ELBOW = torch.tensor([0.2, 0.1, 0.0], dtype=torch.float64)


def tube() -> tuple[torch.Tensor, torch.Tensor]:
    """An open tube along x, from -1 to 1."""
    x = torch.linspace(-1, 1, RINGS, dtype=torch.float64).repeat_interleave(AROUND)
    angle = (torch.arange(AROUND) * 2 * math.pi / AROUND).double().repeat(RINGS)
    vertices = torch.stack((x, 0.1 + 0.12 * angle.cos(), 0.12 * angle.sin()), 1)
    first = torch.arange((RINGS - 1) * AROUND)
    side = first // AROUND * AROUND + (first + 1) % AROUND
    triangles = torch.cat(
        (torch.stack((first, first + AROUND, side), 1), torch.stack((side, first + AROUND, side + AROUND), 1))
    )
    return vertices, triangles


def turns(axis: tuple[float, float, float], angles: torch.Tensor) -> torch.Tensor:
    direction = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    return quats_to_matrices(torch.cat(((angles / 2).cos()[:, None], (angles / 2).sin()[:, None] * direction), 1))


@pytest.fixture(scope="module")
def arm() -> tuple[torch.Tensor, torch.Tensor, Bones]:
    """The tube at rest, its triangles, and what moves it: an upper arm, and a forearm that turns about the elbow."""
    rest, triangles = tube()
    time = torch.linspace(0, 1, TIMES, dtype=torch.float64)
    upper = turns((0.2, 1.0, 0.4), 1.2 * time - 0.3)
    forearm = upper @ turns((0.0, 0.3, 1.0), 1.6 * time) @ turns((1.0, 0.0, 0.0), 0.8 * (3 * time).sin())
    shift = torch.stack((time, -0.5 * time**2, 0.3 * (4 * time).sin()), 1)
    rotations = torch.stack((upper, forearm), 1)
    translations = torch.stack((shift, shift + (upper - forearm) @ ELBOW), 1)
    share = ((rest[:, 0] - ELBOW[0]) / 0.2 + 0.5).clamp(0, 1)
    weights = torch.stack((1 - share, share, 0 * share, 0 * share), 1)
    influences = torch.tensor([0, 1, 0, 0]).expand(len(rest), 4)
    return rest, triangles, Bones(rotations, translations, influences, weights)


def dense(bones: Bones) -> torch.Tensor:
    count = bones.rotations.shape[1]
    return torch.zeros(len(bones.weights), count, dtype=torch.float64).scatter_add_(1, bones.influences, bones.weights)


def test_the_bones_and_weights_of_an_arm_are_recovered(arm: tuple) -> None:
    rest, triangles, true = arm
    vertices = true.skin(rest)
    found = find_bones(rest.float(), vertices.float(), triangles, 2)
    diagonal = float((rest.amax(0) - rest.amin(0)).norm())
    distances = (found.skin(rest) - vertices).norm(dim=-1) / diagonal
    assert distances.mean() < 1e-3 and distances.max() < 0.015
    order = [0, 1] if found.influences[0, 0] == 0 else [1, 0]
    angles = torch.linalg.matrix_norm(found.rotations[:, order] - true.rotations)
    assert angles.max() < 0.02
    wrong = (dense(found)[:, order] - dense(true)).abs().amax(1)
    assert wrong.mean() < 0.02 and wrong.max() < 0.35
    assert (found.weights >= 0).all() and (found.weights.sum(1) - 1).abs().max() < 1e-9
    joints = place_joints(found, rest)
    (child,) = (joints.parents >= 0).nonzero()[:, 0].tolist()
    assert joints.parents.tolist() == [-1 if child == 1 else 1, 0 if child == 1 else -1]
    assert (joints.positions[child] - ELBOW).norm() < 0.02 * diagonal


def test_more_bones_are_closer(arm: tuple, generator: torch.Generator) -> None:
    """Vertices that no bones move exactly: the arm bends evenly."""
    rest, triangles, _ = arm
    bend = torch.linspace(0, 1.5, 5, dtype=torch.float64)[:, None] * rest[:, 0]
    noise = 0.001 * torch.randn(5, *rest.shape, generator=generator)
    vertices = torch.stack((bend.sin(), rest[:, 1] + 1 - bend.cos(), rest[:, 2].expand_as(bend)), 2) + noise
    errors = [
        float((find_bones(rest, vertices, triangles, n).skin(rest) - vertices).norm(dim=-1).mean()) for n in (1, 3, 8)
    ]
    assert errors[0] > 2 * errors[1] and errors[1] > 1.5 * errors[2]


@pytest.mark.parametrize("count", [1, 5])
def test_a_rigid_motion_is_exact(arm: tuple, count: int) -> None:
    rest, triangles, true = arm
    vertices = (rest @ true.rotations[:, 0].mT) + true.translations[:, :1]
    found = find_bones(rest, vertices, triangles, count)
    torch.testing.assert_close(found.skin(rest), vertices, atol=1e-6, rtol=0)


def test_parts_that_touch_nowhere_hang_on_the_root(arm: tuple) -> None:
    rest, triangles, _ = arm
    both = torch.cat((rest, rest + torch.tensor([0.0, 5.0, 0.0])))
    shift = torch.linspace(0, 2, TIMES, dtype=torch.float64)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    vertices = torch.cat((rest.expand(TIMES, -1, -1), both[len(rest) :] + shift), 1)
    found = find_bones(both, vertices, torch.cat((triangles, triangles + len(rest))), 2)
    assert place_joints(found, both).parents.tolist() == [-1, -1]
    torch.testing.assert_close(found.skin(both), vertices, atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [-1, 0, 65])
def test_absurd_numbers_are_refused(arm: tuple, count: int) -> None:
    rest, triangles, true = arm
    with pytest.raises(ValueError, match=f"skeleton must be .* got {count}"):
        find_bones(rest, true.skin(rest), triangles, count)


def test_small_meshes_have_few_bones(arm: tuple) -> None:
    rest, triangles, _ = arm
    few = triangles[(triangles < 24).all(1)]
    with pytest.raises(ValueError, match="skeleton must be at most 3 bones"):
        find_bones(rest[:24], rest[None, :24].repeat(2, 1, 1), few, 4)
