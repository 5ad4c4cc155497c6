"""Thickness of shapes: against brute force and closed forms."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ds4d.multiview.inflate.kernels import lower_envelopes
from ds4d.multiview.inflate.thickness import union_of_balls


def disc(size: int, radius: float, x: float, y: float) -> Tensor:
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return (xs - x).square() + (ys - y).square() < radius**2


def by_brute_force(mask: Tensor) -> Tensor:
    """The definition, literally."""
    pixels = torch.cartesian_prod(torch.arange(mask.shape[0]), torch.arange(mask.shape[1])).double()
    squared = torch.cdist(pixels, pixels, compute_mode="donot_use_mm_for_euclid_dist").square()
    inside = mask.flatten()
    radii = (squared[:, ~inside].amin(1).sqrt() - 0.5).clamp(0, 0.5 * min(mask.shape))
    heights = (radii.square()[None, inside] - squared[:, inside]).amax(1).clamp_min(0).sqrt()
    return torch.where(inside, heights, 0.0).view(mask.shape).float()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_thickness_equals_brute_force(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(17, 23, generator=generator) < 0.9
    torch.testing.assert_close(union_of_balls(mask[None])[0], by_brute_force(mask), atol=1e-4, rtol=0)


def test_a_disc_becomes_a_ball() -> None:
    mask = disc(128, 40.0, 64, 60)
    heights = union_of_balls(mask[None])[0]
    for off in (0, 15, 30):
        assert heights[59, 63 + off] == pytest.approx((40**2 - off**2) ** 0.5, abs=1.2)


def test_a_bar_is_as_thick_as_wide_far_from_its_ends() -> None:
    mask = torch.zeros(1, 40, 100, dtype=torch.bool)
    mask[:, 15:26, 10:90] = True
    heights = union_of_balls(mask)[0]
    assert heights[20, 50] == pytest.approx(5.5)
    assert torch.equal(heights[:, 40], heights[:, 60])


def test_a_thin_limb_stays_thin_near_the_body() -> None:
    """Each point is as thick as the largest ball that covers it, whatever lies around."""
    body, limb = disc(96, 20.0, 48, 48), torch.zeros(96, 96, dtype=torch.bool)
    limb[46:50, 48:90] = True
    heights = union_of_balls((body | limb)[None])[0]
    assert heights[47, 80] == pytest.approx(1.5) and heights[47, 47] > 18


def test_the_border_of_the_image_is_no_boundary() -> None:
    half = torch.zeros(1, 40, 40, dtype=torch.bool)
    half[:, 20:] = True
    assert union_of_balls(half)[0, 39, 20] > 15


def test_thickness_without_a_boundary_is_bounded() -> None:
    masks = torch.stack((torch.ones(8, 12, dtype=torch.bool), torch.zeros(8, 12, dtype=torch.bool)))
    full, empty = union_of_balls(masks)
    assert full.max() == 4 and torch.equal(empty, torch.zeros(8, 12))


def test_envelopes_of_any_rows(rng: np.random.Generator) -> None:
    rows = np.where(rng.random((5, 30)) < 0.3, np.inf, 20 * rng.standard_normal((5, 30)))
    rows[4] = np.inf
    gaps = np.square(np.arange(30)[:, None] - np.arange(30))
    expected = (rows[:, None] + gaps).min(-1)
    lower_envelopes(0, 5, rows)
    np.testing.assert_allclose(rows, expected)
