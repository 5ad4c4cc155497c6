import pytest
import torch

from ds4d.geometry import project_points
from ds4d.visualize import SIDES, fixed_path, orbit_path

VIEW = dict(elevation_deg=0.0, fovy_deg=40.0, distance=2.0, size=32)


def positions(cameras) -> torch.Tensor:
    return torch.linalg.inv(cameras.viewmats)[:, 0, :3, 3]


def test_orbit_starts_in_front_and_loops():
    cameras = orbit_path(8, **VIEW)
    assert cameras.viewmats.shape == (8, 1, 4, 4)
    assert (cameras.width, cameras.height) == (32, 32)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 0, -2], [-2, 0, 0]])
    assert torch.allclose(positions(cameras)[::2], expected, atol=1e-5)
    steps = (positions(cameras) - positions(cameras).roll(-1, 0)).norm(dim=-1)
    assert torch.allclose(steps, steps[:1].expand(8), atol=1e-5)  # the last step leads back to the first frame


def test_orbit_centers_the_origin():
    cameras = orbit_path(5, **{**VIEW, "elevation_deg": 30.0}, turns=-0.5)
    pixels, depths = project_points(torch.zeros(5, 1, 3), cameras)
    assert torch.allclose(pixels, torch.full_like(pixels, 16.0), atol=1e-4)
    assert torch.allclose(depths, torch.full_like(depths, 2.0), atol=1e-5)
    assert torch.allclose(positions(cameras)[:, 1], torch.ones(5), atol=1e-5)
    assert positions(cameras)[1, 0] < 0  # backwards


@pytest.mark.parametrize(
    ("side", "eye"),
    [("front", (0, 0, 2.0)), ("right", (2.0, 0, 0)), ("back", (0, 0, -2.0)), ("left", (-2.0, 0, 0))],
)
def test_fixed_path_is_at_its_azimuth(side, eye):
    cameras = fixed_path(3, azimuth_deg=SIDES[side], **VIEW)
    assert cameras.is_static
    assert torch.allclose(positions(cameras), torch.tensor(eye).expand(3, 3), atol=1e-5)


def test_errors():
    assert list(SIDES) == ["front", "right", "back", "left"]
    with pytest.raises(ValueError, match="num"):
        orbit_path(0, **VIEW)
