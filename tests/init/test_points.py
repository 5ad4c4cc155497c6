"""The first Gaussians: sizes from spacing, colors kept, and points that cannot be used."""

import math

import pytest
import torch

from ds4d.geometry import evaluate_sh
from ds4d.init import gaussians_from_points, nearest_rows, random_ball

SETTINGS = {"opacity": 0.5, "sh_degree": 0, "scale_factor": 1.0}


def grid(side: int, step: float) -> torch.Tensor:
    axis = step * torch.arange(side)
    return torch.cartesian_prod(axis, axis, axis)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_sizes_are_the_gap_to_the_neighbors(factor: float) -> None:
    """Every point of a cubic grid has at least three neighbors one step away."""
    raw = gaussians_from_points(grid(4, 0.1), torch.rand(64, 3), **{**SETTINGS, "scale_factor": factor})
    torch.testing.assert_close(raw.log_scales.exp(), torch.full((64, 3), factor * 0.1))


def test_gaussians_are_round_upright_and_colored(generator: torch.Generator) -> None:
    colors = torch.rand(27, 3, generator=generator)
    raw = gaussians_from_points(grid(3, 0.1), colors, opacity=0.3, sh_degree=2, scale_factor=1.0)
    drawn = raw.activate()
    assert raw.sh.shape == (27, 9, 3)
    assert drawn.quats.tolist() == [[1, 0, 0, 0]] * 27
    torch.testing.assert_close(drawn.opacities, torch.full((27,), 0.3))
    torch.testing.assert_close(evaluate_sh(raw.sh, torch.randn(27, 3, generator=generator)), colors)


def test_points_on_top_of_each_other_get_a_finite_size() -> None:
    assert gaussians_from_points(torch.zeros(5, 3), torch.zeros(5, 3), **SETTINGS).log_scales.isfinite().all()


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4, got 3"):
        gaussians_from_points(torch.rand(3, 3), torch.rand(3, 3), **SETTINGS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["points", "colors"])
def test_values_that_are_not_finite_raise(field: str, value: float) -> None:
    parts = {"points": torch.rand(5, 3), "colors": torch.rand(5, 3)}
    parts[field][2, 1] = value
    with pytest.raises(ValueError, match="must be finite"):
        gaussians_from_points(**parts, **SETTINGS)


@pytest.mark.parametrize("chunk", [7, 2048])
def test_nearest_rows_are_those_of_a_full_sort(chunk: int, generator: torch.Generator) -> None:
    points = torch.rand(50, 3, generator=generator)
    distances = (points[:, None].double() - points.double()).norm(dim=-1)
    distances.fill_diagonal_(math.inf)
    assert torch.equal(nearest_rows(points, 4, chunk), distances.argsort(dim=1)[:, :4])


def test_points_that_nearly_coincide_are_told_apart() -> None:
    pairs = torch.rand(40, 1, 3) + torch.tensor([[0.0, 0.0, 0.0], [1e-4, 0.0, 0.0]])
    partner = torch.arange(80).view(40, 2).flip(1).reshape(-1)
    assert torch.equal(nearest_rows(pairs.reshape(-1, 3), 1)[:, 0], partner)


def test_a_point_is_not_its_own_neighbor_even_where_others_lie_on_it() -> None:
    rows = nearest_rows(torch.zeros(6, 3), 2)
    assert (rows != torch.arange(6)[:, None]).all()


def test_a_small_set_has_fewer_neighbors() -> None:
    assert nearest_rows(torch.rand(3, 3), 8).shape == (3, 2)
    assert nearest_rows(torch.rand(1, 3), 8).shape == (1, 0)


def test_random_points_fill_the_ball_evenly(generator: torch.Generator) -> None:
    points, colors = random_ball(8000, 0.5, generator)
    radii = points.norm(dim=-1)
    assert radii.max() <= 0.5
    # Half the radius holds an eighth of the volume; 8000 points tell it to 0.4 % (one standard deviation).
    assert (radii < 0.25).float().mean().item() == pytest.approx(1 / 8, abs=0.015)
    assert points.mean(0).abs().max() < 0.015
    assert (colors == 0.5).all()
    again, _ = random_ball(8000, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(points, again)
