"""Regularizers of constant, linear and curved planes, and of rigid and stretching motion."""

import pytest
import torch

from ds4d.geometry import quats_to_matrices
from ds4d.losses import plane_smoothness, rigidity, stillness, time_l1, time_smoothness

STEPS = torch.arange(6.0)


def planes(content: torch.Tensor) -> torch.Tensor:
    """Content [rows, columns] as the three planes of one scale with two channels."""
    return content.expand(3, 2, 6, 6)


ALONG_ROWS, ALONG_COLUMNS = STEPS[:, None].expand(6, 6), STEPS.expand(6, 6)


@pytest.mark.parametrize(
    "content",
    [torch.full((6, 6), 3.0), 2 * ALONG_ROWS, -ALONG_COLUMNS, 1 + ALONG_ROWS - 3 * ALONG_COLUMNS],
    ids=["constant", "linear along rows", "linear along columns", "linear along both"],
)
def test_linear_planes_have_no_smoothness_loss(content: torch.Tensor) -> None:
    assert plane_smoothness([planes(content)]).item() == 0


@pytest.mark.parametrize("content", [ALONG_ROWS**2, ALONG_COLUMNS**2], ids=["rows", "columns"])
def test_space_planes_are_smoothed_along_both_axes(content: torch.Tensor) -> None:
    """The second difference of i^2 is 2 everywhere along one axis and 0 along the other: the mean is (4 + 0) / 2."""
    assert plane_smoothness([planes(content)]).item() == 2


def test_scales_have_equal_weight() -> None:
    curved, flat = planes(ALONG_ROWS**2), torch.ones(3, 2, 40, 40)
    assert plane_smoothness([curved, flat]).item() == 1


def test_time_planes_are_smoothed_along_time() -> None:
    assert time_smoothness([planes(ALONG_ROWS**2)]).item() == 4
    assert time_smoothness([planes(ALONG_COLUMNS**2)]).item() == 0
    assert time_smoothness([planes(2 * ALONG_ROWS)]).item() == 0


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_than_three_times_have_no_smoothness_loss(rows: int) -> None:
    plane = torch.rand(3, 2, rows, 6, requires_grad=True)
    cost = time_smoothness([plane])
    cost.backward()
    assert cost.item() == 0 and plane.grad.abs().max() == 0


def test_time_l1_is_the_distance_from_one() -> None:
    assert time_l1([torch.ones(3, 2, 6, 6)]).item() == 0
    assert time_l1([torch.full((3, 2, 6, 6), 1.25), torch.full((3, 2, 6, 6), 0.25)]).item() == 0.5


@pytest.mark.parametrize("loss", [plane_smoothness, time_smoothness, time_l1])
def test_gradient_descent_reduces_the_loss(loss) -> None:
    content = torch.randn(3, 2, 6, 6, requires_grad=True)
    before = loss([content])
    before.backward()
    with torch.no_grad():
        assert loss([content - 1e-2 * content.grad]) < before


@pytest.fixture
def pair_of_neighbors() -> torch.Tensor:
    return torch.tensor([[1], [0]])


def test_rigid_motion_has_no_rigidity_loss(generator: torch.Generator) -> None:
    points = torch.randn(10, 3, generator=generator)
    neighbors = torch.randint(0, 10, (10, 4), generator=generator)
    rotations = quats_to_matrices(torch.randn(3, 4, generator=generator))
    moved = points @ rotations.mT + torch.randn(3, 1, 3, generator=generator)
    assert rigidity(points, moved, neighbors).item() < 1e-5


def test_stretching_is_penalized_by_its_length(pair_of_neighbors: torch.Tensor) -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    moved = torch.stack((points, 1.5 * points))  # unchanged, then half a unit longer
    assert rigidity(points, moved, pair_of_neighbors).item() == pytest.approx(0.25)


def test_coincident_neighbors_have_finite_gradients(pair_of_neighbors: torch.Tensor) -> None:
    points = torch.zeros(2, 3, requires_grad=True)
    moved = torch.zeros(1, 2, 3, requires_grad=True)
    rigidity(points, moved, pair_of_neighbors).backward()
    assert points.grad.isfinite().all() and moved.grad.isfinite().all()


def test_what_is_still_is_held_where_it_is_at_the_canonical_time() -> None:
    points = torch.zeros(2, 3, requires_grad=True)
    moved = torch.tensor([[[0.0, 0, 0], [0, 0, 0]], [[0.3, 0, 0.4], [0, 2, 0]]])
    still = torch.tensor([[1.0, 1.0], [0.6, 0.0]])
    loss = stillness(points, moved, still)
    assert loss.item() == pytest.approx(0.6 * 0.5 / 4, abs=1e-5)
    loss.backward()
    assert points.grad.isfinite().all()
