"""Colors of the back: harmonic, and from the mask boundary alone."""

import pytest
import torch

from ds4d.multiview.inflate.back_colors import fill_from_rim, harmonic_fill


def box(height: int, width: int) -> torch.Tensor:
    inside = torch.zeros(1, height, width, dtype=torch.bool)
    inside[:, 4:-4, 4:-4] = True
    return inside


def frame(height: int, width: int) -> torch.Tensor:
    """1 on the border of an image."""
    known = torch.ones(1, 1, height, width)
    known[..., 1:-1, 1:-1] = 0
    return known


@pytest.mark.parametrize(("height", "width"), [(32, 32), (37, 50), (64, 21)])
def test_linear_functions_are_reproduced(height: int, width: int) -> None:
    """A linear function is harmonic."""
    ys, xs = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    ramp = torch.stack((xs, ys, 0.5 * (xs + ys)))[None]
    known = frame(height, width)
    filled = harmonic_fill(ramp * known, known)
    assert (filled - ramp).abs().max() < 0.08 and (filled - ramp).abs().mean() < 0.02


def test_known_values_are_kept_and_bound_the_others(generator: torch.Generator) -> None:
    values, known = torch.rand(2, 3, 33, 20, generator=generator), frame(33, 20).expand(2, -1, -1, -1)
    filled = harmonic_fill(values, known)
    assert torch.equal(filled * known, values * known)
    assert filled.min() >= (values + 9 * (1 - known)).min() and filled.max() <= (values * known).max()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    known = torch.zeros(1, 1, *size)
    known[..., 0, 0] = 1
    assert torch.equal(harmonic_fill(torch.full((1, 3, *size), 0.25), known), torch.full((1, 3, *size), 0.25))
    assert harmonic_fill(torch.zeros(1, 3, *size), torch.zeros(1, 1, *size)).isfinite().all()


def test_colors_inside_the_boundary_do_not_matter() -> None:
    inside, colors = box(40, 40), torch.full((1, 3, 40, 40), 0.2)
    face = colors.clone()
    face[..., 15:25, 15:25] = 1.0
    torch.testing.assert_close(fill_from_rim(face, inside, blur=1.0), fill_from_rim(colors, inside, blur=1.0))


def test_each_side_of_the_boundary_colors_its_side() -> None:
    inside, colors = box(40, 40), torch.zeros(1, 3, 40, 40)
    colors[:, 0, :, :20], colors[:, 2, :, 20:] = 1.0, 1.0
    red, _, blue = fill_from_rim(colors, inside, blur=1.0)[0]
    assert red[20, 6] > 0.8 and blue[20, 33] > 0.8
    assert red[20, 6] > red[20, 13] > red[20, 19] > red[20, 26]
