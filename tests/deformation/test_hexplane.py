"""HexPlane reads: which plane answers to which coordinate, and that nothing of an axis is left unread."""

import pytest
import torch
from torch.nn import functional as F

from ds4d.deformation import HexPlane, HexPlaneConfig

BOX = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 2.0, 4.0]])
ONE_SCALE = HexPlaneConfig(channels=1, resolution=5, multipliers=(1,), time_resolution=4)
PAIRS = [(0, 1), (0, 2), (1, 2)]  # xy, xz, yz
ENDS = torch.tensor([0.0, 1.0])


def plain(config: HexPlaneConfig = ONE_SCALE, num_times: int = 4) -> HexPlane:
    """A HexPlane of ones: every feature is 1 until a plane is given content."""
    planes = HexPlane(config, BOX, num_times)
    with torch.no_grad():
        for plane in planes.parameters():
            plane.fill_(1)
    return planes


def points(count: int = 20) -> torch.Tensor:
    unit = torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    return BOX[0] + unit * (BOX[1] - BOX[0])


def share(points: torch.Tensor) -> torch.Tensor:
    """Position in the box, 0 at its low corner and 1 at its high one."""
    return (points - BOX[0]) / (BOX[1] - BOX[0])


@pytest.mark.parametrize("family", [0, 1, 2], ids=["xt", "yt", "zt"])
def test_both_ends_of_time_are_read(family: int) -> None:
    planes = plain()
    with torch.no_grad():
        planes.temporal_planes()[0][family, :, 0] = 3
        planes.temporal_planes()[0][family, :, -1] = 7
    values = planes(points(), ENDS)[..., 0]
    torch.testing.assert_close(values, torch.tensor([[3.0], [7.0]]).expand(2, 20))


def test_time_is_linear_between_rows_and_every_row_is_reached() -> None:
    planes = plain()
    content = torch.tensor([2.0, -1.0, 4.0, 0.5])
    with torch.no_grad():
        planes.temporal_planes()[0][0] = content[:, None]
    at_rows = planes(points(), torch.arange(4) / 3)[:, 0, 0]
    torch.testing.assert_close(at_rows, content)
    between = planes(points(), (torch.arange(3) + 0.25) / 3)[:, 0, 0]
    torch.testing.assert_close(between, 0.75 * content[:-1] + 0.25 * content[1:])


@pytest.mark.parametrize(("plane", "axes"), list(enumerate(PAIRS)), ids=["xy", "xz", "yz"])
def test_space_planes_read_their_two_axes(plane: int, axes: tuple[int, int]) -> None:
    """Content that is bilinear over the plane is read exactly: columns run along the first axis, rows the second."""
    planes = plain()
    ramp = torch.linspace(0, 1, 5)
    with torch.no_grad():
        planes.spatial_planes()[0][plane] = 1 + 2 * ramp + 3 * ramp[:, None] + 4 * ramp * ramp[:, None]
    first, second = (share(points())[:, axis] for axis in axes)
    expected = 1 + 2 * first + 3 * second + 4 * first * second
    torch.testing.assert_close(planes(points(), ENDS)[..., 0], expected.expand(2, -1))


@pytest.mark.parametrize("axis", [0, 1, 2], ids="xyz")
def test_time_planes_read_their_axis(axis: int) -> None:
    planes = plain()
    with torch.no_grad():
        planes.temporal_planes()[0][axis] = torch.linspace(0, 1, 5)
    torch.testing.assert_close(planes(points(), ENDS)[..., 0], share(points())[:, axis].expand(2, -1))


def test_features_are_products_of_six_bilinear_reads(generator: torch.Generator) -> None:
    """The same reads by `grid_sample`, plane by plane."""
    config = HexPlaneConfig(channels=3, resolution=4, multipliers=(1, 2), time_resolution=5)
    planes = HexPlane(config, BOX, 9)
    with torch.no_grad():
        for plane in planes.parameters():
            plane.copy_(torch.randn(plane.shape, generator=generator))
    times = torch.tensor([0.0, 0.13, 0.5, 0.98, 1.0])
    space, time = 2 * share(points()) - 1, (2 * times - 1)[:, None].expand(-1, 20)
    expected = []
    for spatial, temporal in zip(planes.spatial_planes(), planes.temporal_planes(), strict=True):
        product = torch.ones(3, 5, 20)
        for plane, (first, second) in zip(spatial, PAIRS, strict=True):
            grid = torch.stack((space[:, first], space[:, second]), -1).expand(1, 5, -1, -1)
            product = product * F.grid_sample(plane[None], grid, align_corners=True)[0]
        for axis, plane in enumerate(temporal):
            grid = torch.stack((space[:, axis].expand(5, -1), time), -1)[None]
            product = product * F.grid_sample(plane[None], grid, align_corners=True)[0]
        expected.append(product)
    torch.testing.assert_close(planes(points(), times), torch.cat(expected).permute(1, 2, 0), atol=1e-5, rtol=1e-5)


def test_points_outside_read_the_border() -> None:
    planes = HexPlane(ONE_SCALE, BOX, 4)
    outside = torch.tensor([[-9.0, 0.5, 2.0], [0.5, 9.0, 2.0], [3.0, 3.0, 9.0]])
    torch.testing.assert_close(planes(outside, ENDS), planes(outside.clamp(*BOX), ENDS))


def test_fresh_planes_do_not_change_over_time() -> None:
    values = HexPlane(HexPlaneConfig(), BOX, 8)(points(), torch.linspace(0, 1, 5))
    assert values.shape == (5, 20, 48)
    torch.testing.assert_close(values, values[:1].expand_as(values))
    assert values[0].std() > 0


def test_each_plane_receives_gradient_and_so_do_points() -> None:
    planes, where = HexPlane(HexPlaneConfig(resolution=8), BOX, 6), points(400).requires_grad_()
    planes(where, torch.linspace(0, 1, 6)).square().sum().backward()
    for name, plane in planes.named_parameters():
        assert (plane.grad.abs().flatten(1).sum(1) > 0).all(), name
        assert (plane.grad != 0).any(dim=-1).all(), f"{name}: a row is never read"
    assert where.grad.isfinite().all() and (where.grad != 0).any()


@pytest.mark.parametrize(("time_resolution", "num_times", "rows"), [(0, 24, 24), (0, 1, 2), (7, 24, 7)])
def test_rows_of_time(time_resolution: int, num_times: int, rows: int) -> None:
    planes = HexPlane(HexPlaneConfig(time_resolution=time_resolution), BOX, num_times)
    assert {plane.shape[2] for plane in planes.temporal_planes()} == {rows}


def test_the_box_is_stored_with_the_planes() -> None:
    assert torch.equal(HexPlane(ONE_SCALE, BOX, 4).state_dict()["aabb"], BOX)


def test_one_row_of_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"time_resolution must be 0 or at least 2, got 1\. Give 0"):
        HexPlaneConfig(time_resolution=1)
