"""The color bases equal the textbook's real spherical harmonics, built here from Legendre polynomials."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import Legendre

from ds4d.geometry import evaluate_sh, rgb_to_sh, sh_degree

# Small enough that colors stay above 0, where `evaluate_sh` would clamp them.
AMPLITUDE = 0.1


def bases(directions: torch.Tensor) -> torch.Tensor:
    """The values of all 16 bases [B, 16] for directions [B, 3], read out of `evaluate_sh` one coefficient at a time."""
    one_hot = AMPLITUDE * torch.eye(16, dtype=directions.dtype)[:, None, :, None].expand(16, 1, 16, 3)
    colors = evaluate_sh(one_hot.expand(16, len(directions), 16, 3), directions.expand(16, -1, 3))
    return ((colors[..., 0] - 0.5) / AMPLITUDE).T


def textbook(directions: np.ndarray) -> np.ndarray:
    """Real spherical harmonics with the Condon-Shortley sign, ordered (0, 0), (1, -1), (1, 0), (1, 1), (2, -2), ..."""
    x, y, z = directions.T
    longitude, columns = np.arctan2(y, x), []
    for degree in range(4):
        for order in range(-degree, degree + 1):
            m = abs(order)
            derivative = Legendre.basis(degree).deriv(m) if m else Legendre.basis(degree)
            associated = (-1) ** m * (1 - z**2) ** (m / 2) * derivative(z)
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio)
            wave = np.sin(m * longitude) if order < 0 else np.cos(m * longitude)
            columns.append((math.sqrt(2) if m else 1) * norm * associated * wave)
    return np.stack(columns, axis=-1)


def test_bases_equal_the_textbook(generator: torch.Generator) -> None:
    directions = torch.nn.functional.normalize(torch.randn(64, 3, generator=generator).double(), dim=-1)
    np.testing.assert_allclose(bases(directions), textbook(directions.numpy()), atol=1e-12)


def test_bases_are_orthonormal_over_the_sphere() -> None:
    """Gauss-Legendre in z and equal steps of longitude integrate products up to degree 6 exactly."""
    heights, weights = np.polynomial.legendre.leggauss(8)
    longitudes = 2 * math.pi * np.arange(16) / 16
    z, longitude = (grid.ravel() for grid in np.meshgrid(heights, longitudes, indexing="ij"))
    across = np.sqrt(1 - z**2)
    directions = torch.from_numpy(np.stack((across * np.cos(longitude), across * np.sin(longitude), z), axis=-1))
    values = bases(directions)
    area = torch.from_numpy(np.repeat(weights, 16) * 2 * math.pi / 16)
    torch.testing.assert_close(values.T @ (area[:, None] * values), torch.eye(16).double(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("count", [1, 4, 9, 16])
def test_lower_degrees_are_the_first_bases_of_higher_ones(count: int, generator: torch.Generator) -> None:
    sh, directions = torch.randn(5, 16, 3, generator=generator), torch.randn(5, 3, generator=generator)
    cut = torch.where(torch.arange(16)[:, None] < count, sh, torch.zeros(()))
    torch.testing.assert_close(evaluate_sh(sh[:, :count], directions), evaluate_sh(cut, directions))


def test_view_independent_colors_are_the_same_from_every_side(generator: torch.Generator) -> None:
    rgb, directions = torch.rand(7, 3, generator=generator), torch.randn(7, 3, generator=generator)
    torch.testing.assert_close(evaluate_sh(rgb_to_sh(rgb)[:, None], directions), rgb)


def test_colors_are_not_negative_and_directions_have_any_length(generator: torch.Generator) -> None:
    sh, directions = 3 * torch.randn(50, 16, 3, generator=generator), torch.randn(50, 3, generator=generator)
    colors = evaluate_sh(sh, directions)
    assert colors.min() == 0
    torch.testing.assert_close(evaluate_sh(sh, 7 * directions), colors, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 4])
def test_colors_broadcast_over_directions(count: int, generator: torch.Generator) -> None:
    sh, directions = torch.randn(5, count, 3, generator=generator), torch.randn(2, 3, 5, 3, generator=generator)
    colors = evaluate_sh(sh, directions)
    assert colors.shape == (2, 3, 5, 3)
    torch.testing.assert_close(colors[1, 2], evaluate_sh(sh, directions[1, 2]))


@pytest.mark.parametrize(("count", "degree"), [(1, 0), (4, 1), (9, 2), (16, 3)])
def test_degree_of_a_number_of_bases(count: int, degree: int) -> None:
    assert sh_degree(count) == degree


@pytest.mark.parametrize("count", [0, 2, 3, 8, 25])
def test_other_numbers_of_bases_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"got {count}"):
        sh_degree(count)
