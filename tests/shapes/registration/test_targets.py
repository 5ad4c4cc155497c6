"""Views cropped to the object, with their cameras."""

from dataclasses import replace

import torch

from ds4d.geometry import project_points
from ds4d.shapes.registration.targets import crop_views
from ds4d.types import Cameras, FrameBatch


def images_of(cameras: Cameras) -> FrameBatch:
    """A rectangle in each view, whose colors are pixel coordinates."""
    columns = ((torch.arange(cameras.width) + 0.5) / cameras.width).expand(cameras.height, -1)
    rows = ((torch.arange(cameras.height) + 0.5) / cameras.height)[:, None].expand(-1, cameras.width)
    alphas = torch.zeros(cameras.num_views, 1, cameras.height, cameras.width)
    alphas[:, :, 6:26, 8:20] = 1
    images = torch.stack((columns, rows, torch.zeros_like(rows))).expand(cameras.num_views, -1, -1, -1)
    return FrameBatch(images * alphas, alphas)


def test_crops_match_their_cameras(tiny_cameras: Cameras) -> None:
    """The color at a projected point is its position in the whole image."""
    targets = crop_views(images_of(tiny_cameras), tiny_cameras, torch.ones(3), size=48)
    assert targets.images.shape == (3, 3, 48, 48)
    points = torch.tensor([[-0.15, 0.0, 0.0], [-0.2, 0.1, 0.0]])
    whole, _ = project_points(points, tiny_cameras)
    inside, _ = project_points(points, targets.cameras)
    for point in range(len(points)):
        column, row = inside[0, point].floor().long().tolist()
        shown = targets.straight[0, :2, row, column]
        # The tolerance is half a pixel of a crop.
        torch.testing.assert_close(shown, whole[0, point] / torch.tensor([40.0, 32.0]), atol=0.015, rtol=0)


def test_object_fills_the_crop_but_for_a_margin(tiny_cameras: Cameras) -> None:
    targets = crop_views(images_of(tiny_cameras), tiny_cameras, torch.ones(3), size=64)
    covered = (targets.alphas[0, 0] > 0.5).nonzero()
    low, high = covered.amin(0) / 64, (covered.amax(0) + 1) / 64
    assert (low > 0.1).all() and (low < 0.2).all() and (high > 0.8).all() and (high < 0.9).all()


def test_crops_end_at_the_image_border(tiny_cameras: Cameras) -> None:
    images = images_of(tiny_cameras)
    full = FrameBatch(images.images, torch.ones_like(images.alphas))
    targets = crop_views(full, tiny_cameras, torch.ones(3), size=40)
    torch.testing.assert_close(targets.cameras.Ks[0], replace(tiny_cameras).resized(40, 40).Ks[0])
    torch.testing.assert_close(targets.alphas, torch.ones(3, 1, 40, 40))


def test_weights_sum_to_one(tiny_cameras: Cameras) -> None:
    targets = crop_views(images_of(tiny_cameras), tiny_cameras, torch.tensor([1.0, 0.5, 0.5]), size=8)
    assert targets.weights.tolist() == [0.5, 0.25, 0.25]
