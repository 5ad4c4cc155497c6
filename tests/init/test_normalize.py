"""Scene normalization, compared with the known surface of the sample."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from ds4d.data.synthetic import SampleConfig, sample_video, surface_points
from ds4d.geometry import HullConfig, project_points, transform_cameras, transform_points
from ds4d.init import BALL_RADIUS, InitConfig, SceneNormalization, initial_gaussians, normalize_scene
from ds4d.types import MultiViewVideo, Similarity

HULL = HullConfig(resolution=48)
PIXEL = 1 / 24  # of images 48 high, in normalized units: the precision of the hulls


def test_object_is_inside_ball_and_box_at_all_times(
    normalization: SceneNormalization, quick_video: MultiViewVideo
) -> None:
    points = transform_points(normalization.world, surface_points(quick_video.times, 500, seed=0))
    assert points.norm(dim=-1).max() < BALL_RADIUS + PIXEL
    assert points.norm(dim=-1).max() > 0.7 * BALL_RADIUS
    low, high = normalization.aabb
    assert (points > low - PIXEL).all() and (points < high + PIXEL).all()
    extent = points.flatten(0, 1).amax(0) - points.flatten(0, 1).amin(0)
    assert (high - low < 1.1 * extent + 4 * PIXEL).all()


def test_normalized_cameras_see_the_same_images(normalization: SceneNormalization, quick_video: MultiViewVideo) -> None:
    points = surface_points(quick_video.times, 50, seed=1)
    before, _ = project_points(points, quick_video.cameras)
    after, depths = project_points(transform_points(normalization.world, points), normalization.video.cameras)
    torch.testing.assert_close(after, before, atol=1e-3, rtol=0)
    assert (depths > 0).all()


def test_world_space_is_irrelevant(normalization: SceneNormalization, quick_video: MultiViewVideo) -> None:
    """The same scene with z up, three times as large and translated."""
    y_to_z = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    to_other = Similarity(3.0, y_to_z, torch.tensor([5.0, -2.0, 1.0]))
    moved = replace(quick_video, cameras=transform_cameras(to_other, quick_video.cameras), up="z")
    other = normalize_scene(moved, HULL)
    assert other.world.scale == pytest.approx(normalization.world.scale / 3, rel=0.05)
    points = surface_points(quick_video.times, 200, seed=0)
    torch.testing.assert_close(
        transform_points(other.world, transform_points(to_other, points)),
        transform_points(normalization.world, points),
        atol=PIXEL,
        rtol=0,
    )


def test_cameras_that_move_are_projected_anew(quick_video: MultiViewVideo) -> None:
    """A rig that moves with the object: each frame's hull is where its own cameras see it."""
    cameras = quick_video.cameras
    last = transform_cameras(Similarity(1.0, torch.eye(3), torch.tensor([0.3, 0.0, 0.0])), cameras)
    half = quick_video.num_times // 2
    mixed = replace(
        cameras,
        viewmats=torch.cat((cameras.viewmats[:half], last.viewmats[half:])),
        Ks=torch.cat((cameras.Ks[:half], last.Ks[half:])),
    )
    wide, usual = (normalize_scene(replace(quick_video, cameras=each), HULL) for each in (mixed, cameras))
    extents = [(found.aabb[1] - found.aabb[0])[0] / found.world.scale for found in (wide, usual)]
    assert extents[0] - extents[1] == pytest.approx(0.3 * 1.1, rel=0.1)  # with its margins


@pytest.mark.gpu
def test_a_gpu_finds_the_same_box(quick_video: MultiViewVideo, normalization: SceneNormalization) -> None:
    found = normalize_scene(quick_video, HULL, device=torch.device("cuda"))
    assert found.aabb.device.type == "cpu"
    torch.testing.assert_close(found.aabb, normalization.aabb, atol=PIXEL / 2, rtol=0)


def test_one_frame_and_one_view_suffice(
    quick_video: MultiViewVideo, one_frame: Callable[..., MultiViewVideo], generator: torch.Generator
) -> None:
    for views in (slice(None), slice(1)):
        normalization = normalize_scene(one_frame(quick_video, 2, views), HULL)
        raw = initial_gaussians(normalization, InitConfig(num_gaussians=100, hull=HULL), generator)
        assert raw.num_gaussians == 100
        pixels, depths = project_points(raw.means[None], normalization.video.cameras)
        assert (depths > 0).all()
        assert (pixels > -2).all() and (pixels < 50).all()


def test_moving_camera_with_one_view_per_time() -> None:
    """A camera circles a static object, as in D-NeRF's data."""
    static = sample_video(SampleConfig(frames=1, size=48, supersampling=1))
    views = static.num_views

    class Circling:
        num_times, num_views, width, height = views, 1, 48, 48

        def read(self, time: int, view: int):
            return static.frames.read(0, time)

    moving = MultiViewVideo(
        Circling(),
        static.cameras[0][:, None],
        torch.ones(views, 1, dtype=torch.bool),
        torch.linspace(0, 1, views),
        ("camera",),
        torch.ones(1),
    )
    normalization = normalize_scene(moving, HULL)
    points = transform_points(normalization.world, surface_points(torch.zeros(1), 500, seed=0))
    assert points.norm(dim=-1).max() < BALL_RADIUS + 2 * PIXEL
    config = InitConfig(num_gaussians=300, hull=HULL)
    raw = initial_gaussians(normalization, config, torch.Generator().manual_seed(0))
    assert torch.cdist(raw.means, points[0]).amin(1).median() < 2 * PIXEL


def test_masks_without_a_common_object_raise(quick_video: MultiViewVideo) -> None:
    class Bands:
        num_times, num_views, width, height = quick_video.num_times, quick_video.num_views, 48, 48

        def read(self, time: int, view: int):
            image = np.zeros((48, 48, 4), np.uint8)
            image[8:12, 22:26] = 255 * (view % 2)  # at the top in every other view
            image[36:40, 22:26] = 255 * (1 - view % 2)  # at the bottom in the others
            return image

    with pytest.raises(ValueError, match="masks"):
        normalize_scene(replace(quick_video, frames=Bands()), HULL)
