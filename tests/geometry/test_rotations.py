"""Quaternions obey the axioms of rotations, and wxyz means what it says."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from ds4d.geometry import matrices_to_quats, multiply_quats, quats_to_matrices, uniform_rotations

COMPONENTS = st.floats(-2, 2, allow_subnormal=False)
QUATS = (
    st.tuples(COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS)
    .filter(lambda q: math.hypot(*q) > 0.1)
    .map(lambda q: torch.tensor(q, dtype=torch.float64))
)
IDENTITY = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
HALF = math.sqrt(0.5)


def conjugate(quat: torch.Tensor) -> torch.Tensor:
    return quat * quat.new_tensor([1, -1, -1, -1])


@given(QUATS)
def test_matrices_are_proper_rotations(quat: torch.Tensor) -> None:
    matrix = quats_to_matrices(quat)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones((), dtype=torch.float64))


@given(QUATS)
def test_length_and_sign_do_not_matter(quat: torch.Tensor) -> None:
    torch.testing.assert_close(quats_to_matrices(-3 * quat), quats_to_matrices(quat))


@given(QUATS, QUATS)
def test_products_of_quats_are_products_of_matrices(left: torch.Tensor, right: torch.Tensor) -> None:
    product = quats_to_matrices(multiply_quats(left, right))
    torch.testing.assert_close(product, quats_to_matrices(left) @ quats_to_matrices(right))


@given(QUATS, QUATS, QUATS)
def test_products_are_associative(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    left, right = multiply_quats(multiply_quats(a, b), c), multiply_quats(a, multiply_quats(b, c))
    torch.testing.assert_close(left, right)


@given(QUATS)
def test_identity_and_inverse(quat: torch.Tensor) -> None:
    torch.testing.assert_close(multiply_quats(quat, IDENTITY), quat)
    torch.testing.assert_close(multiply_quats(IDENTITY, quat), quat)
    torch.testing.assert_close(multiply_quats(quat, conjugate(quat)), IDENTITY * quat.square().sum())


@given(QUATS)
def test_round_trip_through_matrices(quat: torch.Tensor) -> None:
    matrix = quats_to_matrices(quat)
    back = matrices_to_quats(matrix)
    assert back[0] >= 0
    torch.testing.assert_close(back.norm(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(quats_to_matrices(back), matrix)


@pytest.mark.parametrize(
    ("quat", "source", "turned"),
    [
        ([HALF, HALF, 0, 0], [0, 1, 0], [0, 0, 1]),
        ([HALF, 0, HALF, 0], [0, 0, 1], [1, 0, 0]),
        ([HALF, 0, 0, HALF], [1, 0, 0], [0, 1, 0]),
        ([0, 0, 0, 1], [1, 2, 3], [-1, -2, 3]),
    ],
    ids=["quarter turn about x", "quarter turn about y", "quarter turn about z", "half turn about z"],
)
def test_known_rotations(quat: list[float], source: list[float], turned: list[float]) -> None:
    matrix = quats_to_matrices(torch.tensor(quat, dtype=torch.float32))
    torch.testing.assert_close(matrix @ torch.tensor(source, dtype=torch.float32), torch.tensor(turned).float())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotations_by_180_degrees_have_finite_gradients_both_ways(axis: int) -> None:
    """At half turns w is 0, where the textbook formula divides by it."""
    quat = torch.zeros(4)
    quat[axis + 1] = 1.0
    matrix = quats_to_matrices(quat).requires_grad_()
    back = matrices_to_quats(matrix)
    torch.testing.assert_close(back.abs(), quat)
    (gradient,) = torch.autograd.grad(back.sum(), matrix)
    assert gradient.isfinite().all()


def test_leading_axes_are_kept(generator: torch.Generator) -> None:
    quats = torch.randn(2, 1, 5, 4, generator=generator)
    matrices = quats_to_matrices(quats)
    assert matrices.shape == (2, 1, 5, 3, 3)
    assert matrices_to_quats(matrices).shape == quats.shape
    torch.testing.assert_close(matrices[1, 0, 3], quats_to_matrices(quats[1, 0, 3]))
    assert multiply_quats(quats, quats[0, 0, 0]).shape == quats.shape


@pytest.mark.parametrize(("count", "degrees"), [(1000, 22), (4000, 14)])
def test_uniform_rotations_leave_no_gap(count: int, degrees: float, generator: torch.Generator) -> None:
    spread = uniform_rotations(count)
    torch.testing.assert_close(spread.norm(dim=-1), torch.ones(count))
    others = torch.nn.functional.normalize(torch.randn(2000, 4, generator=generator), dim=-1)
    nearest = torch.rad2deg(2 * torch.arccos((others @ spread.T).abs().amax(1).clamp(max=1)))
    assert nearest.max() < degrees


def test_uniform_rotations_prefer_no_direction() -> None:
    torch.testing.assert_close(quats_to_matrices(uniform_rotations(3000)).mean(0), torch.zeros(3, 3), atol=0.01, rtol=0)
