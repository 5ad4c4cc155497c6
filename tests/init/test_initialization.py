"""The initial Gaussians, compared with the known surface of the sample."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
import trimesh

from ds4d.core import Warned, notices_to
from ds4d.data.synthetic import surface_points
from ds4d.geometry import HullConfig, inverse_similarity, project_points, sh_degree, transform_points
from ds4d.init import BALL_RADIUS, InitConfig, SceneNormalization, initial_gaussians, normalize_scene, register_mesh
from ds4d.types import MultiViewVideo

HULL = HullConfig(resolution=48)
PIXEL = 1 / 24  # of images 48 high, in normalized units: the precision of the hulls


def test_hull_gaussians_are_on_the_surface_with_its_colors(
    normalization: SceneNormalization, quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    raw = initial_gaussians(
        normalization, InitConfig(num_gaussians=500, hull=HULL, sh_degree=1, opacity=0.3), generator
    )
    assert raw.num_gaussians == 500 and sh_degree(raw.sh.shape[1]) == 1
    torch.testing.assert_close(raw.opacity_logits.sigmoid(), torch.full((500,), 0.3))
    middle = quick_video.times[[quick_video.middle]]
    surface = transform_points(normalization.world, surface_points(middle, 3000, seed=0))[0]
    distances = torch.cdist(raw.means, surface).amin(1)
    assert distances.median() < PIXEL
    assert torch.cdist(surface, raw.means).amin(1).quantile(0.95) < 3 * PIXEL  # every part is covered
    assert raw.sh[:, 0].std() > 0.2  # the sample has many colors


def test_points_of_a_file_are_in_world_space(
    tmp_path: Path, normalization: SceneNormalization, generator: torch.Generator
) -> None:
    inside = 0.3 * torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    outside = transform_points(inverse_similarity(normalization.world), inside)
    lines = [f"v {x} {y} {z}" for x, y, z in outside.tolist()]
    (tmp_path / "cloud.obj").write_text("\n".join(lines))
    raw = initial_gaussians(normalization, InitConfig("points", tmp_path / "cloud.obj", hull=HULL), generator)
    torch.testing.assert_close(raw.means, inside, atol=1e-5, rtol=0)


def test_methods_with_a_file_need_one(
    normalization: SceneNormalization, quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    with pytest.raises(ValueError, match=r"--init\.file.*points"):
        initial_gaussians(normalization, InitConfig("points"), generator)
    with pytest.raises(ValueError, match=r"--init\.file.*mesh"):
        register_mesh(quick_video, InitConfig("mesh"), seed=0)


def test_mesh_is_registered_to_one_view(
    tmp_path: Path,
    quick_video: MultiViewVideo,
    creature_mesh: trimesh.Trimesh,
    one_frame: Callable,
    generator: torch.Generator,
) -> None:
    """The mesh is rotated and scaled; points that the view does not show keep their own colors."""
    rotated = creature_mesh.copy()
    rotated.apply_transform(trimesh.transformations.rotation_matrix(1.5, (1, 0.2, 0)))
    rotated.apply_scale(6)
    rotated.export(tmp_path / "creature.glb")
    config = InitConfig("mesh", tmp_path / "creature.glb", num_gaussians=2000, hull=HULL)
    front = one_frame(quick_video, quick_video.middle, slice(1))
    registration = register_mesh(front, config, seed=0)
    assert registration is not None and registration.silhouette_iou > 0.85
    normalized = normalize_scene(front, HULL)
    raw = initial_gaussians(normalized, config, generator, registration)
    image = front.gather(torch.tensor([0]), torch.tensor([0]))
    pixels, _ = project_points(raw.means[None], normalized.video.cameras)
    columns, rows = pixels[0, 0].round().long().clamp(0, 47).unbind(-1)
    assert (image.alphas[0, 0, rows, columns] > 0.1).float().mean() > 0.95
    colors = (0.5 + raw.sh[:, 0] * 0.28209479).clamp(0, 1)
    same = (colors - registration.colors).abs().amax(-1) < 1e-3  # those of the mesh
    nearer = (
        transform_points(inverse_similarity(normalized.world), raw.means)[:, 2] > registration.positions[:, 2].median()
    )
    assert same[~nearer].float().mean() > 0.8
    assert same[nearer].float().mean() < 0.6  # those of the image where it shows the point


def test_mesh_of_another_object_raises(tmp_path: Path, quick_video: MultiViewVideo, one_frame: Callable) -> None:
    trimesh.creation.cylinder(0.02, 1.0).export(tmp_path / "stick.ply")
    config = InitConfig("mesh", tmp_path / "stick.ply", num_gaussians=500, hull=HULL)
    sides = one_frame(quick_video, quick_video.middle, slice(0, 3, 2))
    with pytest.raises(ValueError, match=r"stick\.ply.*IoU"):
        register_mesh(sides, config, seed=0)


def test_poor_match_is_a_notice(tmp_path: Path, quick_video: MultiViewVideo, one_frame: Callable) -> None:
    trimesh.creation.icosphere().export(tmp_path / "ball.ply")
    config = InitConfig("mesh", tmp_path / "ball.ply", num_gaussians=500, hull=HULL)
    front = one_frame(quick_video, quick_video.middle, slice(1))
    with notices_to((notices := []).append):
        registration = register_mesh(front, config, seed=0)
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "init")]
    assert registration is not None and registration.color_error is None


@pytest.mark.parametrize("method", ["hull", "random"])
def test_unused_file_raises(method: Literal["hull", "random"]) -> None:
    with pytest.raises(ValueError, match=rf"--init\.file.*{method}"):
        InitConfig(method, Path("a.ply"))


def test_random_gaussians_fill_the_ball(normalization: SceneNormalization, generator: torch.Generator) -> None:
    raw = initial_gaussians(normalization, InitConfig("random", num_gaussians=400), generator)
    radii = raw.means.norm(dim=-1)
    assert radii.max() <= BALL_RADIUS
    assert radii.median() == pytest.approx(BALL_RADIUS * 0.5 ** (1 / 3), rel=0.1)
