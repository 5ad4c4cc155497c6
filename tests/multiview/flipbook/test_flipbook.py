"""Views of one 3D file per frame: alignment with the video, colors, and refusals."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import Notice, notices_to
from ds4d.data.synthetic import render_sample
from ds4d.export import write_ply
from ds4d.geometry import (
    inverse_similarity,
    orbit_cameras,
    quats_to_matrices,
    rotation_to_y,
    transform_cameras,
    transform_gaussians,
)
from ds4d.io import to_linear
from ds4d.multiview import ViewsConfig, check_flipbook
from ds4d.multiview.flipbook import Flipbook, FlipbookConfig
from ds4d.multiview.flipbook.alignment import candidate_rotations, image_moments, smooth_over_time
from ds4d.shapes import read_shape
from ds4d.shapes.registration.poses import angles_between
from ds4d.types import ArrayFrames, GeneratedViews, MultiViewVideo, Similarity, Video

CPU = torch.device("cpu")
Write = Callable[..., Path]


def input_video(video: MultiViewVideo, times: Sequence[int] | None = None) -> Video:
    """The input view of a video with its camera, of all frames or of some."""
    images = np.stack([video.frames.read(time, 0) for time in (range(video.num_times) if times is None else times)])
    return Video(ArrayFrames(images[:, None]), 6.0, video.cameras[0, :1])


def turned(degrees: float) -> Float[Tensor, "3 3"]:
    """Rotation about the vertical axis."""
    angle = math.radians(degrees)
    return torch.tensor(
        [[math.cos(angle), 0.0, math.sin(angle)], [0.0, 1.0, 0.0], [-math.sin(angle), 0.0, math.cos(angle)]]
    )


@dataclass(frozen=True)
class Made:
    """Views of a flipbook, and where its files are.

    Attributes:
        views: the views.
        placed: for each frame, the map from the creature's own world to that of the views; the identity up to a scale
            about the camera if the alignment is right.
    """

    views: GeneratedViews
    placed: list[Similarity]


class _Recording(Flipbook):
    """A flipbook that keeps the alignment it finds: aligning takes nearly all of the time."""

    def _align(self, *arguments):
        self.alignment, colors = super()._align(*arguments)
        return self.alignment, colors


@pytest.fixture(scope="module")
def make(
    quick_video: MultiViewVideo, creature_at: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Made]:
    """Writes the creature at every time under a similarity, aligns it, and renders views."""

    def flipbook(moves: list[Similarity], suffix: str, **settings) -> Made:
        folder = tmp_path_factory.mktemp("flipbook")
        for index, (time, move) in enumerate(zip(quick_video.times.tolist(), moves, strict=True)):
            mesh = creature_at(time)
            mesh.vertices = move.scale * mesh.vertices @ move.rotation.numpy().T + move.translation.numpy()
            path = folder / f"{index}{suffix}"
            mesh.export(path)
            if suffix == ".ply":
                write_ply(read_shape(path, 20_000, torch.Generator().manual_seed(0)).gaussians, path)
        generator = _Recording(FlipbookConfig(folder, **settings), CPU)
        views = generator.generate(input_video(quick_video), seed=0)
        placed = [_chained(move, place) for move, place in zip(moves, generator.alignment.placements, strict=True)]
        return Made(views, placed)

    return flipbook


def _chained(first: Similarity, then: Similarity) -> Similarity:
    return Similarity(
        first.scale * then.scale,
        then.rotation @ first.rotation,
        then.scale * then.rotation @ first.translation + then.translation,
    )


def check(made: Made, video: MultiViewVideo, *, degrees: float, overlap: float) -> None:
    """The rotation is undone, and views match those of the creature at the same place."""
    turns = torch.stack([place.rotation for place in made.placed])
    assert angles_between(turns, torch.eye(3).expand_as(turns)).max() < degrees
    generated = made.views.video
    assert generated.view_names[0] == "front" and generated.num_views == 7
    for time in (0, video.middle, video.num_times - 1):
        cameras = transform_cameras(inverse_similarity(made.placed[time]), generated.cameras[0, 1:])
        true = render_sample(cameras, video.times[time, None], supersampling=2)[0, ..., 3] > 127
        found = np.stack([generated.frames.read(time, view) for view in range(1, 7)])[..., 3] > 127
        ious = (true & found).sum((1, 2)) / (true | found).sum((1, 2))
        assert ious.min() > overlap


def test_meshes_in_another_space(make: Callable[..., Made], quick_video: MultiViewVideo) -> None:
    """Turned about the vertical axis, three times as large, and elsewhere."""
    move = Similarity(3.0, turned(70.0), torch.tensor([1.0, -2.0, 5.0]))
    made = make([move] * 6, ".glb", up="+y")
    check(made, quick_video, degrees=3, overlap=0.8)
    points = made.views.points
    assert points is not None and len(points.positions) == 20_000
    for place in made.placed:  # with equal moves, corrections are small
        assert place.scale == pytest.approx(made.placed[0].scale, rel=0.02)


def test_gaussians_with_another_up_axis(make: Callable[..., Made], quick_video: MultiViewVideo) -> None:
    """As a camera sees them: y down."""
    move = Similarity(0.5, rotation_to_y(torch.tensor([0.0, -1.0, 0.0])), torch.tensor([0.0, 0.0, 2.0]))
    check(make([move] * 6, ".ply", up="-y"), quick_video, degrees=3, overlap=0.8)


def test_frames_that_are_centered_and_scaled_one_by_one(
    make: Callable[..., Made], quick_video: MultiViewVideo, generator: torch.Generator
) -> None:
    noise = 0.05 * torch.randn(6, 4, generator=generator)
    moves = [Similarity(math.exp(float(row[3])), turned(-40.0), row[:3].clone()) for row in noise]
    made = make(moves, ".glb", smoothing=0.0)  # with any axis up
    check(made, quick_video, degrees=3, overlap=0.7)
    centers = torch.stack([place.translation for place in made.placed])[:, :2]
    assert centers.std(0).max() < 0.5 * noise[:, :2].std(0).min()


def test_without_alignment_files_are_in_the_world_of_the_video(make: Callable, quick_video: MultiViewVideo) -> None:
    made = make([Similarity.identity()] * 6, ".glb", align=False)
    check(made, quick_video, degrees=1e-3, overlap=0.85)


def test_colors_are_those_of_the_video_where_files_store_srgb_or_nothing(
    make: Callable[..., Made], quick_video: MultiViewVideo, creature_at: Callable, tmp_path: Path
) -> None:
    """trimesh stores sRGB in glTF files, whose colors are linear by definition."""
    shown = (0, 3)
    for index, time in enumerate(quick_video.times[list(shown)].tolist()):
        for name in ("srgb", "linear", "none"):
            mesh = creature_at(time)
            if name == "none":
                mesh.visual = type(mesh.visual)()
            if name == "linear":
                colors = mesh.visual.vertex_colors[:, :3] / 255
                mesh.visual.vertex_colors = (255 * to_linear(colors)).round().astype(np.uint8)
            (tmp_path / name).mkdir(exist_ok=True)
            mesh.export(tmp_path / name / f"{index}.glb")
    video, found = input_video(quick_video, shown), {}
    for name in ("srgb", "linear", "none"):
        views = Flipbook(FlipbookConfig(tmp_path / name, align=False), CPU).generate(video, seed=0).video
        rgba = np.stack([views.frames.read(1, view) for view in (1, 6)]) / 255
        found[name] = rgba[..., :3].sum((0, 1, 2)) / rgba[..., 3].sum()
    np.testing.assert_allclose(found["srgb"], found["linear"], atol=0.03)
    np.testing.assert_allclose(found["none"], found["linear"], atol=0.15)


def test_shapes_of_another_object_are_refused_or_reported(
    quick_video: MultiViewVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trimesh

    trimesh.creation.box((4.0, 0.1, 0.1)).export(tmp_path / "stick.ply")
    settings, video = FlipbookConfig(tmp_path, up="+y", azimuth=0.0), input_video(quick_video, (0, 3))
    with pytest.raises(ValueError, match="IoU"):
        Flipbook(settings, CPU).generate(video, seed=0)
    monkeypatch.setattr("ds4d.multiview.flipbook._MIN_IOU", 0.0)
    notices: list[Notice] = []
    with notices_to(notices.append):
        Flipbook(settings, CPU).generate(video, seed=0)
    assert any("IoU" in notice.message for notice in notices)


def test_a_video_without_object_is_refused(tmp_path: Path, creature_at: Callable) -> None:
    creature_at(0.0).export(tmp_path / "0.glb")
    empty = Video(ArrayFrames(np.zeros((2, 1, 48, 48, 4), np.uint8)), 6.0)
    with pytest.raises(ValueError, match="object"):
        Flipbook(FlipbookConfig(tmp_path), CPU).generate(empty, seed=0)


def test_the_files_decide_the_identity(tmp_path: Path, creature_at: Callable) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        creature_at(0.0).export(tmp_path / name / "0.ply")
    identities = [Flipbook(FlipbookConfig(tmp_path / name), CPU).identity for name in ("a", "b")]
    assert identities[0] == identities[1] and json.loads(identities[0])["name"] == "flipbook"
    creature_at(0.5).export(tmp_path / "b" / "0.ply")
    changed = Flipbook(FlipbookConfig(tmp_path / "b"), CPU)
    assert changed.identity != identities[0]
    assert Flipbook(replace(changed.config, up="+z"), CPU).identity != changed.identity


def test_it_is_never_chosen_by_itself(tmp_path: Path, creature_at: Callable) -> None:
    creature_at(0.0).export(tmp_path / "0.ply")
    assert not Flipbook.is_usable(FlipbookConfig(tmp_path), CPU)[0]


def test_files_are_checked_before_any_work(tmp_path: Path, creature_at: Callable) -> None:
    config = ViewsConfig(source="flipbook")
    with pytest.raises(ValueError, match="--flipbook"):
        check_flipbook(config)
    creature_at(0.0).export(tmp_path / "0.ply")
    given = replace(config, generators=replace(config.generators, flipbook=FlipbookConfig(tmp_path)))
    check_flipbook(given)
    with pytest.raises(ValueError, match="--views flipbook"):
        check_flipbook(replace(given, source="auto"))
    (tmp_path / "1.ply").write_text("ply\n")
    with pytest.raises(ValueError, match=r"1\.ply"):
        check_flipbook(given)


def test_settings_are_checked() -> None:
    for bad in ({"smoothing": -1.0}, {"azimuth": math.nan}, {"azimuth": 400.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            FlipbookConfig(**bad)


def test_candidates_have_the_given_orientation() -> None:
    """The camera is at azimuth 30; at azimuth 90 of the shape, it sees the shape's +x side."""
    camera = orbit_cameras([30.0], [0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    quats = candidate_rotations(camera, "+z", 90.0)
    assert len(quats) == 3
    assert len(candidate_rotations(camera, "+z", None)) * 6 == len(candidate_rotations(camera, None, None)) == 432
    level = quats_to_matrices(quats)[1]
    torch.testing.assert_close(level[:, 2], torch.tensor([0.0, 1.0, 0.0]), atol=1e-5, rtol=0)
    towards_camera = torch.nn.functional.normalize(camera.centers[0], dim=0)
    torch.testing.assert_close(level[:, 0], towards_camera, atol=1e-5, rtol=0)


def test_smoothing_keeps_constants_and_fills_unknown_frames(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.normal(size=(9, 2))).float()
    known = torch.ones(9, dtype=torch.bool)
    torch.testing.assert_close(smooth_over_time(values, known, 0.0), values)
    torch.testing.assert_close(smooth_over_time(torch.full((9, 2), 3.0), known, 2.0), torch.full((9, 2), 3.0))
    assert smooth_over_time(values, known, 2.0).diff(dim=0).abs().sum() < values.diff(dim=0).abs().sum()
    known[4] = False
    filled = smooth_over_time(values, known, 0.0)
    torch.testing.assert_close(filled[4], (values[3] + values[5]) / 2)


def test_moments_of_a_box() -> None:
    alphas = torch.zeros(1, 20, 30)
    alphas[0, 4:12, 10:22] = 1
    centers, spreads = image_moments(alphas)
    torch.testing.assert_close(centers, torch.tensor([[16.0, 8.0]]))
    variance = (12**2 - 1) / 12 + (8**2 - 1) / 12
    torch.testing.assert_close(spreads, torch.tensor([variance**0.5]))


def test_gaussians_move_as_their_centers(tiny_gaussians) -> None:
    move = Similarity(2.0, turned(30.0), torch.tensor([1.0, 2.0, 3.0]))
    moved = transform_gaussians(move, tiny_gaussians)
    torch.testing.assert_close(moved.means, 2 * tiny_gaussians.means @ move.rotation.T + move.translation)
    torch.testing.assert_close(moved.log_scales, tiny_gaussians.log_scales + math.log(2))
