"""Gaussians that live for a part of the time: when they are shown, and where their lives are kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ds4d.export import export_scene
from ds4d.export.html.packing import pack_frames, unpack_frames
from ds4d.geometry import orbit_cameras
from ds4d.rendering import renderer_for
from ds4d.scene import (
    BakedGaussians,
    DynamicGaussians,
    GaussianParameters,
    LoopedScene,
    Resampling,
    endless_lifetimes,
    read_scene,
)
from ds4d.shapes.gaussian_files import read_ply, read_splat
from ds4d.types import RawGaussians, Rendering

MakeScene = Callable[..., DynamicGaussians]
BORN, DIES = 3, 5  # rows of Gaussians


@pytest.fixture
def scene(make_scene: MakeScene) -> DynamicGaussians:
    """Frames at 0, 0.5, 1.75 and 2.5 seconds. One Gaussian is born before the third, one dies before the last."""
    lifetimes = endless_lifetimes(12)
    lifetimes[BORN, 0], lifetimes[DIES, 1] = 1.0, 2.0
    whole = make_scene()
    return DynamicGaussians(whole.canonical(), whole.motion, whole.timeline, whole.world, lifetimes)


def rendered(scene: DynamicGaussians | BakedGaussians, time: float) -> Rendering:
    camera = orbit_cameras([20.0], [10.0], fovy_deg=40.0, distance=3.0, width=32, height=24)
    with torch.no_grad():
        return renderer_for("cpu").render(scene.at(torch.tensor([time])), camera.expand_times(1))


def without(scene: DynamicGaussians, row: int) -> DynamicGaussians:
    rows = torch.tensor([i for i in range(12) if i != row])
    raw = scene.canonical()
    parts = {name: getattr(raw, name)[rows] for name in RawGaussians.__dataclass_fields__}
    return DynamicGaussians(RawGaussians(**parts), scene.motion, scene.timeline, scene.world)


def test_a_gaussian_is_there_from_its_birth_to_before_its_death(scene: DynamicGaussians) -> None:
    seconds = torch.tensor([0.0, 0.99, 1.0, 1.99, 2.0, 2.5])
    opacities = scene.at(seconds / 2.5).opacities > 1e-6
    expected = torch.ones(6, 12, dtype=torch.bool)
    expected[:2, BORN] = False
    expected[4:, DIES] = False
    assert torch.equal(opacities, expected)


def test_images_are_those_without_the_dead(scene: DynamicGaussians, make_scene: MakeScene) -> None:
    assert torch.equal(rendered(scene, 0.2).colors, rendered(without(scene, BORN), 0.2).colors)
    assert torch.equal(rendered(scene, 1.0).colors, rendered(without(scene, DIES), 1.0).colors)
    living = rendered(scene, 0.7).colors
    assert not torch.equal(living, rendered(without(scene, BORN), 0.7).colors)


def test_the_dead_move_as_if_they_lived(scene: DynamicGaussians) -> None:
    times = torch.tensor([0.0, 0.5, 1.0])
    whole = DynamicGaussians(scene.canonical(), scene.motion, scene.timeline, scene.world)
    for name in ("means", "quats", "log_scales", "sh"):
        assert torch.equal(getattr(scene.raw_at(times), name), getattr(whole.raw_at(times), name))


def test_files_keep_lifetimes(scene: DynamicGaussians, tmp_path: Path) -> None:
    scene.save(tmp_path)
    read = read_scene(tmp_path)
    assert isinstance(read, DynamicGaussians) and read.gaussians.lifetimes is not None
    assert scene.gaussians.lifetimes is not None and torch.equal(read.gaussians.lifetimes, scene.gaussians.lifetimes)
    baked = BakedGaussians.load(tmp_path)
    for time in scene.timeline.times:
        assert torch.equal(rendered(read, time).colors, rendered(scene, time).colors)
        assert torch.equal(rendered(baked, time).colors, rendered(scene, time).colors)


def test_without_lifetimes_nothing_of_them_is_stored(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene().save(tmp_path)
    assert "gaussians.lifetimes" not in load_file(tmp_path / "scene.safetensors")
    read = DynamicGaussians.load(tmp_path)
    assert read.gaussians.lifetimes is None and read.alive_at(torch.tensor([0.0])) is None


@pytest.mark.parametrize("lifetime", [(2.0, 1.0), (1.0, 1.0), (float("nan"), 1.0)])
def test_a_life_that_ends_before_it_begins_is_refused(
    scene: DynamicGaussians, tmp_path: Path, lifetime: tuple[float, float]
) -> None:
    lifetimes = endless_lifetimes(12)
    lifetimes[4] = torch.tensor(lifetime)
    with pytest.raises(ValueError, match=r"lifetimes.* 4"):
        GaussianParameters(scene.canonical(), lifetimes)
    scene.save(tmp_path)
    tensors = load_file(tmp_path / "scene.safetensors")
    save_file(tensors | {"gaussians.lifetimes": lifetimes}, tmp_path / "scene.safetensors")
    with pytest.raises(ValueError, match=r"scene\.safetensors"):
        DynamicGaussians.load(tmp_path)


def test_lifetimes_of_another_count_are_refused(scene: DynamicGaussians, tmp_path: Path) -> None:
    scene.save(tmp_path)
    tensors = load_file(tmp_path / "scene.safetensors")
    save_file(tensors | {"gaussians.lifetimes": endless_lifetimes(11)}, tmp_path / "scene.safetensors")
    with pytest.raises(ValueError, match=r"gaussians\.lifetimes"):
        DynamicGaussians.load(tmp_path)


def test_infinite_lifetimes_are_endless_ones(scene: DynamicGaussians) -> None:
    infinite = torch.tensor([[-torch.inf, torch.inf]]).repeat(12, 1)
    stored = GaussianParameters(scene.canonical(), infinite).lifetimes
    assert stored is not None and torch.equal(stored, endless_lifetimes(12)) and stored.isfinite().all()


def test_clones_and_halves_inherit_and_pruned_rows_go(scene: DynamicGaussians) -> None:
    before = scene.gaussians.lifetimes
    assert before is not None
    sources = torch.tensor([0, BORN, DIES, BORN, BORN])
    raw = scene.canonical()
    scene.gaussians.resample(Resampling(sources, sources < 0, raw.means[sources], raw.log_scales[sources]))
    assert scene.gaussians.lifetimes is not None and torch.equal(scene.gaussians.lifetimes, before[sources])


def test_a_gaussian_that_is_far_away_while_it_is_dead_is_near(scene: DynamicGaussians) -> None:
    whole = DynamicGaussians(scene.canonical(), scene.motion, scene.timeline, scene.world).max_distances()
    expected = scene.raw_at(torch.tensor([0.7, 1.0])).means[:, BORN].norm(dim=-1).max()
    torch.testing.assert_close(scene.max_distances()[BORN], expected)
    assert torch.equal(scene.max_distances()[:BORN], whole[:BORN])


def test_a_loop_blends_into_the_living_of_its_start(scene: DynamicGaussians) -> None:
    ends = LoopedScene(scene).at(torch.tensor([0.0, 1.0])).opacities
    torch.testing.assert_close(ends[0], ends[1])


def test_numbered_files_keep_a_row_for_each_gaussian(scene: DynamicGaussians, tmp_path: Path) -> None:
    files = export_scene(scene, tmp_path / "frames")
    frames = [read_ply(path) for path in files if path.suffix == ".ply"]
    opacities = torch.stack([frame.opacity_logits for frame in frames]).sigmoid()
    assert opacities.shape == (4, 12)
    assert ((opacities < 1e-6).nonzero() == torch.tensor([[0, BORN], [1, BORN], [3, DIES]])).all()


def test_the_dead_are_transparent_in_files_of_bytes(scene: DynamicGaussians, tmp_path: Path) -> None:
    export_scene(scene, tmp_path / "a.splat", times=[1.0])
    content = np.fromfile(tmp_path / "a.splat", np.uint8).reshape(-1, 32)
    assert (content[:, 27] == 0).sum() == 1 and len(read_splat(tmp_path / "a.splat").means) == 12


def test_the_dead_are_transparent_in_web_pages(scene: DynamicGaussians) -> None:
    """At the frames; between two frames a page interpolates the logits."""
    frames = scene.bake().frames
    shown = unpack_frames(pack_frames(frames)).opacity_logits.sigmoid() >= 1 / 255  # as its shader decides
    assert torch.equal(shown, frames.opacity_logits.sigmoid() >= 1 / 255)
    assert (~shown).sum() == 3


def test_a_raw_gaussian_without_a_motion_lives_as_well(make_scene: MakeScene, tiny_gaussians: RawGaussians) -> None:
    static = make_scene(None)
    lifetimes = endless_lifetimes(12)
    lifetimes[0, 0] = 1.0
    scene = DynamicGaussians(replace(tiny_gaussians), None, static.timeline, static.world, lifetimes)
    assert (scene.at(torch.tensor([0.0, 1.0])).opacities[:, 0] > 1e-6).tolist() == [False, True]
