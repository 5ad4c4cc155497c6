"""Where the object stands, against the surface of the sample scene, which is known exactly."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import trimesh

from ds4d.core import Warned, notices_to
from ds4d.data.synthetic import SampleConfig, sample_video, surface_points
from ds4d.geometry import HullConfig, inverse_similarity, project_points, sh_degree, transform_cameras, transform_points
from ds4d.init import BALL_RADIUS, InitConfig, SceneNormalization, first_gaussians, normalize_scene, register_mesh
from ds4d.types import MultiViewVideo, Similarity

HULL = HullConfig(resolution=48)
COARSE_VOXEL = 1 / 24  # a pixel of 48 is 1/24 of the object's height; hulls are known that well


@pytest.fixture(scope="module")
def normalization(quick_video: MultiViewVideo) -> SceneNormalization:
    return normalize_scene(quick_video, HULL)


def one_frame(video: MultiViewVideo, time: int, views: slice = slice(None)) -> MultiViewVideo:
    """One frame of a clip as a clip of its own."""

    class OneFrame:
        num_times, width, height = 1, video.frames.width, video.frames.height
        num_views = len(range(video.num_views)[views])

        def read(self, _: int, view: int):
            return video.frames.read(time, range(video.num_views)[views][view])

    return replace(
        video,
        frames=OneFrame(),
        cameras=video.cameras[time : time + 1, views],
        valid=video.valid[time : time + 1, views],
        times=torch.zeros(1),
        view_names=video.view_names[views],
        view_weights=video.view_weights[views],
    )


def test_the_object_stands_in_the_ball_and_in_the_box_at_all_times(
    normalization: SceneNormalization, quick_video: MultiViewVideo
) -> None:
    points = transform_points(normalization.world, surface_points(quick_video.times, 500, seed=0))
    assert points.norm(dim=-1).max() < BALL_RADIUS + COARSE_VOXEL
    assert points.norm(dim=-1).max() > 0.7 * BALL_RADIUS
    assert (points > normalization.aabb[0] - COARSE_VOXEL).all() and (
        points < normalization.aabb[1] + COARSE_VOXEL
    ).all()
    extent = points.flatten(0, 1).amax(0) - points.flatten(0, 1).amin(0)
    assert (normalization.aabb[1] - normalization.aabb[0] < 1.1 * extent + 4 * COARSE_VOXEL).all()


def test_cameras_see_in_the_inner_world_what_they_saw(
    normalization: SceneNormalization, quick_video: MultiViewVideo
) -> None:
    points = surface_points(quick_video.times, 50, seed=1)
    before, _ = project_points(points, quick_video.cameras)
    after, depths = project_points(transform_points(normalization.world, points), normalization.video.cameras)
    torch.testing.assert_close(after, before, atol=1e-3, rtol=0)
    assert (depths > 0).all()


def test_any_world_gives_the_same_inner_world(normalization: SceneNormalization, quick_video: MultiViewVideo) -> None:
    """The same scene with z up, three times as large and elsewhere: the user's world does not matter inside."""
    y_to_z = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    elsewhere = Similarity(3.0, y_to_z, torch.tensor([5.0, -2.0, 1.0]))
    moved = replace(quick_video, cameras=transform_cameras(elsewhere, quick_video.cameras), up="z")
    other = normalize_scene(moved, HULL)
    assert other.world.scale == pytest.approx(normalization.world.scale / 3, rel=0.05)
    points = surface_points(quick_video.times, 200, seed=0)
    inside = transform_points(normalization.world, points)
    torch.testing.assert_close(
        transform_points(other.world, transform_points(elsewhere, points)), inside, atol=COARSE_VOXEL, rtol=0
    )


def test_hull_gaussians_lie_on_the_object_and_have_its_colors(
    normalization: SceneNormalization, quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    raw = first_gaussians(normalization, InitConfig(num_gaussians=500, hull=HULL, sh_degree=1, opacity=0.3), generator)
    assert raw.num_gaussians == 500 and sh_degree(raw.sh.shape[1]) == 1
    torch.testing.assert_close(raw.opacity_logits.sigmoid(), torch.full((500,), 0.3))
    middle = quick_video.times[[quick_video.middle]]
    surface = transform_points(normalization.world, surface_points(middle, 3000, seed=0))[0]
    distances = torch.cdist(raw.means, surface).amin(1)
    assert distances.median() < COARSE_VOXEL
    assert torch.cdist(surface, raw.means).amin(1).quantile(0.95) < 3 * COARSE_VOXEL  # no part is left out
    assert raw.sh[:, 0].std() > 0.2  # the creature is colorful


def test_points_of_a_file_are_taken_in_the_users_world(
    tmp_path: Path, normalization: SceneNormalization, generator: torch.Generator
) -> None:
    inside = 0.3 * torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    outside = transform_points(inverse_similarity(normalization.world), inside)
    lines = [f"v {x} {y} {z}" for x, y, z in outside.tolist()]
    (tmp_path / "cloud.obj").write_text("\n".join(lines))
    raw = first_gaussians(normalization, InitConfig("points", tmp_path / "cloud.obj", hull=HULL), generator)
    torch.testing.assert_close(raw.means, inside, atol=1e-5, rtol=0)


def test_a_shape_needs_a_file(
    normalization: SceneNormalization, quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    with pytest.raises(ValueError, match="file must name a mesh or point cloud when method is `points`"):
        first_gaussians(normalization, InitConfig("points"), generator)
    with pytest.raises(ValueError, match="file must name a mesh or point cloud when method is `mesh`"):
        register_mesh(quick_video, InitConfig("mesh"), seed=0)


def test_a_mesh_is_brought_to_where_one_view_shows_it(
    tmp_path: Path, quick_video: MultiViewVideo, creature_mesh: trimesh.Trimesh, generator: torch.Generator
) -> None:
    """It comes lying on its back and six times as large; its far side keeps its own colors, which no view shows."""
    lying = creature_mesh.copy()
    lying.apply_transform(trimesh.transformations.rotation_matrix(1.5, (1, 0.2, 0)))
    lying.apply_scale(6)
    lying.export(tmp_path / "creature.glb")
    config = InitConfig("mesh", tmp_path / "creature.glb", num_gaussians=2000, hull=HULL)
    front = one_frame(quick_video, quick_video.middle, slice(1))
    registered = register_mesh(front, config, seed=0)
    assert registered is not None and registered.silhouette_iou > 0.85
    placed = normalize_scene(front, HULL)
    raw = first_gaussians(placed, config, generator, registered)
    image = front.gather(torch.tensor([0]), torch.tensor([0]))
    pixels, _ = project_points(raw.means[None], placed.video.cameras)
    columns, rows = pixels[0, 0].round().long().clamp(0, 47).unbind(-1)
    assert (image.alphas[0, 0, rows, columns] > 0.1).float().mean() > 0.95
    colors = (0.5 + raw.sh[:, 0] * 0.28209479).clamp(0, 1)
    same = (colors - registered.colors).abs().amax(-1) < 1e-3  # as the mesh has them
    nearer = transform_points(inverse_similarity(placed.world), raw.means)[:, 2] > registered.positions[:, 2].median()
    assert same[~nearer].float().mean() > 0.8
    assert same[nearer].float().mean() < 0.6  # the image's, wherever it shows the point


def test_a_mesh_of_something_else_is_refused(tmp_path: Path, quick_video: MultiViewVideo) -> None:
    trimesh.creation.cylinder(0.02, 1.0).export(tmp_path / "stick.ply")
    config = InitConfig("mesh", tmp_path / "stick.ply", num_gaussians=500, hull=HULL)
    sides = one_frame(quick_video, quick_video.middle, slice(0, 3, 2))
    with pytest.raises(
        ValueError, match=r"stick\.ply must fit the silhouettes .* \(IoU\) of 0\.\d\d at best\. Give a mesh"
    ):
        register_mesh(sides, config, seed=0)


def test_a_poor_likeness_is_said(tmp_path: Path, quick_video: MultiViewVideo) -> None:
    trimesh.creation.icosphere().export(tmp_path / "ball.ply")
    config = InitConfig("mesh", tmp_path / "ball.ply", num_gaussians=500, hull=HULL)
    front = one_frame(quick_video, quick_video.middle, slice(1))
    with notices_to((notices := []).append):
        registered = register_mesh(front, config, seed=0)
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "init")]
    assert registered is not None and registered.color_error is None


@pytest.mark.parametrize("method", ["hull", "random"])
def test_a_file_that_no_method_reads_is_refused(method: Literal["hull", "random"]) -> None:
    with pytest.raises(ValueError, match=rf"file must not be given when method is `{method}`, got a\.ply\. Add --init"):
        InitConfig(method, Path("a.ply"))


def test_random_gaussians_fill_the_ball(normalization: SceneNormalization, generator: torch.Generator) -> None:
    raw = first_gaussians(normalization, InitConfig("random", num_gaussians=400), generator)
    radii = raw.means.norm(dim=-1)
    assert radii.max() <= BALL_RADIUS
    assert radii.median() == pytest.approx(BALL_RADIUS * 0.5 ** (1 / 3), rel=0.1)


def test_one_frame_and_one_view_are_enough_to_begin_with(
    quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    for views in (slice(None), slice(1)):
        placed = normalize_scene(one_frame(quick_video, 2, views), HULL)
        raw = first_gaussians(placed, InitConfig(num_gaussians=100, hull=HULL), generator)
        assert raw.num_gaussians == 100
        pixels, depths = project_points(raw.means[None], placed.video.cameras)
        assert (depths > 0).all()
        assert (pixels > -2).all() and (pixels < 50).all()


def test_one_moving_camera_shows_the_shape_over_time() -> None:
    """A camera that circles a creature at rest, one image per time, as in D-NeRF's data."""
    still = sample_video(SampleConfig(frames=1, size=48, supersampling=1))
    views = still.num_views
    cameras = still.cameras[0][:, None]

    class Turning:
        num_times, num_views, width, height = views, 1, 48, 48

        def read(self, time: int, view: int):
            return still.frames.read(0, time)

    moving = MultiViewVideo(
        Turning(),
        cameras,
        torch.ones(views, 1, dtype=torch.bool),
        torch.linspace(0, 1, views),
        ("camera",),
        torch.ones(1),
    )
    placed = normalize_scene(moving, HULL)
    points = transform_points(placed.world, surface_points(torch.zeros(1), 500, seed=0))
    assert points.norm(dim=-1).max() < BALL_RADIUS + 2 * COARSE_VOXEL
    raw = first_gaussians(placed, InitConfig(num_gaussians=300, hull=HULL), torch.Generator().manual_seed(0))
    assert torch.cdist(raw.means, points[0]).amin(1).median() < 2 * COARSE_VOXEL


def test_masks_that_no_cameras_agree_on_are_refused(quick_video: MultiViewVideo) -> None:
    """Every other view shows the object high up, the others low down."""

    class Bands:
        num_times, num_views, width, height = quick_video.num_times, quick_video.num_views, 48, 48

        def read(self, time: int, view: int):
            image = np.zeros((48, 48, 4), np.uint8)
            image[8:12, 22:26] = 255 * (view % 2)
            image[36:40, 22:26] = 255 * (1 - view % 2)
            return image

    with pytest.raises(ValueError, match="visual hull"):
        normalize_scene(replace(quick_video, frames=Bands()), HULL)
