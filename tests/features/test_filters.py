"""The filter bank: positions of its cells and known values of its channels."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ds4d.features import FilterBank, FilterBankConfig

BLURRED = (1, 14, 27)  # index of the blurred brightness of each scale


def bank(stride: int = 4, scales: tuple[float, ...] = FilterBankConfig().scales) -> FilterBank:
    return FilterBank(FilterBankConfig(stride=stride, scales=scales))


def centers(cells: int, size: int) -> Tensor:
    """Pixel coordinates of the cells' centers along one axis; the center of pixel j is at j + 0.5."""
    return (torch.arange(cells) + 0.5) * size / cells


@pytest.mark.parametrize(
    ("height", "width", "stride", "expected"),
    [(64, 48, 4, (16, 12)), (50, 31, 4, (12, 8)), (33, 65, 8, (4, 8)), (3, 7, 4, (1, 2)), (5, 6, 1, (5, 6))],
)
def test_map_has_one_cell_per_stride(height: int, width: int, stride: int, expected: tuple[int, int]) -> None:
    extractor = bank(stride)
    maps = extractor(torch.rand(2, 3, 3, height, width))
    assert maps.shape == (2, 3, extractor.channels, *expected)
    assert maps.isfinite().all()
    assert extractor.stride == stride


@pytest.mark.parametrize(("height", "width"), [(160, 160), (158, 150), (163, 181)])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.5, 4.0])
def test_cells_are_centered_in_normalized_coordinates(height: int, width: int, scale: float) -> None:
    """On a linear ramp, away from the border: the value at the cell's center, and the slope times sigma."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image = (0.1 + 0.001 * x + 0.002 * y).expand(3, -1, -1)
    maps = bank(scales=(scale,))(image)
    h, w = maps.shape[-2:]
    rows, columns = centers(h, height)[:, None], centers(w, width)
    sigma = 4 * scale
    far = 4 * max(sigma, 1) + 4
    inside = ((rows > far) & (rows < height - far)) & ((columns > far) & (columns < width - far))
    assert inside.any()
    expected = {1: 0.1 + 0.001 * columns + 0.002 * rows - 0.5, 4: 0.001 * sigma, 7: 0.002 * sigma}
    for channel, value in expected.items():
        difference = maps[channel] - value
        assert difference[inside].abs().max() < 1e-5, channel
    assert maps[10:13, inside].abs().max() < 1e-4  # no curvature


def test_second_derivatives_of_a_parabola() -> None:
    y, x = torch.meshgrid(torch.arange(96) + 0.5 - 48, torch.arange(96) + 0.5 - 48, indexing="ij")
    image = (0.5 + 1e-4 * x.square() + 5e-5 * x * y - 2e-5 * y.square()).expand(3, -1, -1)
    maps = bank(scales=(0.5, 1.5))(image)
    for first, sigma in ((11, 2.0), (24, 6.0)):
        hessian = maps[first - 1 : first + 2, 11:13, 11:13]
        expected = torch.tensor([2e-4, 5e-5, -4e-5]) * sigma**2
        torch.testing.assert_close(hessian, expected[:, None, None].expand_as(hessian), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (63, 50)])
@pytest.mark.parametrize(("row", "column"), [(9, 20), (40, 33)])
def test_impulse_response_is_a_gaussian_at_its_position(height: int, width: int, row: int, column: int) -> None:
    image = torch.zeros(3, height, width)
    image[:, row, column] = 1.0
    found = bank(scales=(0.7,))(image)[BLURRED[0]] + 0.5
    h, w = found.shape
    squares = (centers(h, height)[:, None] - row - 0.5).square() + (centers(w, width) - column - 0.5).square()
    sigma = 2.8
    expected = torch.exp(-squares / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    assert (found - expected).abs().max() < 0.01 * expected.max()


@pytest.mark.parametrize("cells", [(0, 1), (3, 0), (2, -5)])
def test_shift_by_whole_cells_shifts_the_map(cells: tuple[int, int]) -> None:
    image = torch.ones(3, 160, 160)
    image[:, 60:100, 60:100] = torch.rand(3, 40, 40)
    moved = image.roll((4 * cells[0], 4 * cells[1]), dims=(1, 2))
    extractor = bank(scales=(0.5, 1.5))
    torch.testing.assert_close(extractor(moved), extractor(image).roll(cells, dims=(1, 2)), atol=1e-5, rtol=0)


def test_derivatives_have_the_right_sign() -> None:
    image = torch.zeros(3, 64, 64)
    image[:, :, 32:] = 1.0  # brighter on the right
    maps = bank()(image)
    turned = bank()(image.mT)
    for first in BLURRED:
        dx, dy = first + 3, first + 6
        assert maps[dx, 8, 7:9].min() > 0.1 and maps[dy].abs().max() < 1e-5
        torch.testing.assert_close(turned[dy], maps[dx].mT)
        torch.testing.assert_close(turned[first + 11], maps[first + 9].mT)


def test_deviation_is_the_local_contrast() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    maps = bank(scales=(0.6,))(board.expand(3, -1, -1).float())
    assert maps[13].sub(0.5).abs().max() < 0.01  # half the pixels 0, half 1
    assert bank()(torch.full((3, 64, 64), 0.3))[[13, 26, 39]].abs().max() < 1e-3


@pytest.mark.parametrize("gray", [0.0, 0.5, 1.0])
def test_plain_background_gives_equal_tokens(gray: float) -> None:
    maps = bank()(torch.full((3, 45, 70), gray))
    tokens = maps.flatten(1).T
    assert tokens.norm(dim=1).min() >= 1.0
    assert (tokens - tokens[0]).norm(dim=1).max() < 2e-3


def test_channels_are_bounded() -> None:
    images = (torch.rand(8, 3, 64, 64) > 0.5).float()  # maximal contrast
    assert bank()(images).abs().max() <= 1.5


def test_colors_have_different_tokens() -> None:
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
    tokens = bank()(colors[:, :, None, None].expand(-1, 3, 16, 16))[:, :, 2, 2]
    cosines = cosine_similarity(tokens[:, None], tokens[None], dim=-1)
    assert (cosines - 2 * torch.eye(6)).max() < 0.8


def test_batch_equals_single_images() -> None:
    images = torch.rand(2, 2, 3, 40, 52)
    together = bank()(images)
    for i in range(2):
        for j in range(2):
            torch.testing.assert_close(together[i, j], bank()(images[i, j]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"stride": 0}, "stride"),
        ({"stride": 65}, "stride"),
        ({"scales": ()}, "scales"),
        ({"scales": (0.5, 0.0)}, "scales"),
    ],
)
def test_settings_outside_their_ranges_raise(settings: dict, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        FilterBankConfig(**settings)
