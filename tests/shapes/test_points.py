"""Gaussians from points, nearest neighbors, and random points."""

import math

import pytest
import torch

from ds4d.geometry import evaluate_sh
from ds4d.shapes import gaussians_from_points, nearest_neighbors, random_ball

SETTINGS = {"opacity": 0.5, "sh_degree": 0, "scale_factor": 1.0}


def grid(side: int, step: float) -> torch.Tensor:
    axis = step * torch.arange(side)
    return torch.cartesian_prod(axis, axis, axis)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_sizes_are_the_distance_to_the_neighbors(factor: float) -> None:
    """Every point of a cubic grid has at least three neighbors one step away."""
    raw = gaussians_from_points(grid(4, 0.1), torch.rand(64, 3), **{**SETTINGS, "scale_factor": factor})
    torch.testing.assert_close(raw.log_scales.exp(), torch.full((64, 3), factor * 0.1))


def test_properties_of_the_gaussians(generator: torch.Generator) -> None:
    colors = torch.rand(27, 3, generator=generator)
    raw = gaussians_from_points(grid(3, 0.1), colors, opacity=0.3, sh_degree=2, scale_factor=1.0)
    gaussians = raw.activate()
    assert raw.sh.shape == (27, 9, 3)
    assert gaussians.quats.tolist() == [[1, 0, 0, 0]] * 27
    torch.testing.assert_close(gaussians.opacities, torch.full((27,), 0.3))
    torch.testing.assert_close(evaluate_sh(raw.sh, torch.randn(27, 3, generator=generator)), colors)


def test_coincident_points_have_a_finite_size() -> None:
    assert gaussians_from_points(torch.zeros(5, 3), torch.zeros(5, 3), **SETTINGS).log_scales.isfinite().all()


def test_too_few_points_raise() -> None:
    with pytest.raises(ValueError, match="points"):
        gaussians_from_points(torch.rand(3, 3), torch.rand(3, 3), **SETTINGS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["points", "colors"])
def test_non_finite_values_raise(field: str, value: float) -> None:
    parts = {"points": torch.rand(5, 3), "colors": torch.rand(5, 3)}
    parts[field][2, 1] = value
    with pytest.raises(ValueError, match="finite"):
        gaussians_from_points(**parts, **SETTINGS)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_nearest_neighbors_match_a_full_sort(device: str, generator: torch.Generator) -> None:
    points = torch.rand(3000, 3, generator=generator)
    distances = (points[:, None].double() - points.double()).norm(dim=-1)
    distances.fill_diagonal_(math.inf)
    assert torch.equal(nearest_neighbors(points.to(device), 4).cpu(), distances.argsort(dim=1)[:, :4])


def test_nearly_coincident_points_are_distinguished() -> None:
    pairs = torch.rand(40, 1, 3) + torch.tensor([[0.0, 0.0, 0.0], [1e-4, 0.0, 0.0]])
    partner = torch.arange(80).view(40, 2).flip(1).reshape(-1)
    assert torch.equal(nearest_neighbors(pairs.reshape(-1, 3), 1)[:, 0], partner)


def test_coincident_points_are_not_their_own_neighbors() -> None:
    rows = nearest_neighbors(torch.zeros(6, 3), 2)
    assert (rows != torch.arange(6)[:, None]).all()


def test_small_sets_have_fewer_neighbors() -> None:
    assert nearest_neighbors(torch.rand(3, 3), 8).shape == (3, 2)
    assert nearest_neighbors(torch.rand(1, 3), 8).shape == (1, 0)


def test_random_points_are_uniform_in_the_ball(generator: torch.Generator) -> None:
    points, colors = random_ball(8000, 0.5, generator)
    radii = points.norm(dim=-1)
    assert radii.max() <= 0.5
    # Half the radius holds an eighth of the volume; the standard deviation of 8000 points is 0.4 %.
    assert (radii < 0.25).float().mean().item() == pytest.approx(1 / 8, abs=0.015)
    assert points.mean(0).abs().max() < 0.015
    assert (colors == 0.5).all()
    again, _ = random_ball(8000, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(points, again)
