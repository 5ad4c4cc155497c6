"""From world points to pixels: known values, time axes, and the points that break divisions."""

import torch

from ds4d.geometry import project_points
from ds4d.types import Cameras


def straight_camera(focal: float = 10.0) -> Cameras:
    """At the origin, looking along +z with +y down."""
    K = torch.tensor([[focal, 0, 4.0], [0, 2 * focal, 3.0], [0, 0, 1]])
    return Cameras(torch.eye(4)[None], K[None], 8, 6)


def test_known_pixels() -> None:
    pixels, depths = project_points(torch.tensor([[1.0, -1.0, 2.0], [0.0, 0.0, 5.0]]), straight_camera())
    assert pixels.tolist() == [[[9.0, -7.0], [4.0, 3.0]]]
    assert depths.tolist() == [[2.0, 5.0]]


def test_points_behind_have_negative_depth() -> None:
    _, depths = project_points(torch.tensor([[0.0, 0.0, -1.0]]), straight_camera())
    assert depths.item() == -1


def test_points_in_the_plane_of_the_camera_are_finite() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1e-12]], requires_grad=True)
    pixels, depths = project_points(points, straight_camera())
    (gradient,) = torch.autograd.grad(pixels.sum() + depths.sum(), points)
    assert pixels.isfinite().all() and gradient.isfinite().all()


def test_each_time_is_seen_by_its_own_cameras(tiny_cameras: Cameras, generator: torch.Generator) -> None:
    points = 0.3 * torch.randn(2, 5, 3, generator=generator)
    later = tiny_cameras.viewmats.clone()
    later[:, 2, 3] += 1
    moving = Cameras(torch.stack((tiny_cameras.viewmats, later)), tiny_cameras.Ks.expand(2, 3, 3, 3), 40, 32)
    pixels, depths = project_points(points, moving)
    assert (pixels.shape, depths.shape) == ((2, 3, 5, 2), (2, 3, 5))
    for time in range(2):
        one = moving.at_time(time)
        torch.testing.assert_close((pixels[time], depths[time]), project_points(points[time], one))
