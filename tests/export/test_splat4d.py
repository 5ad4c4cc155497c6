"""Animated Gaussians in one file, decoded again by the program that encodes them."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.export import export_scene, read_splat4d
from ds4d.export.splat4d import _find_encoder
from ds4d.geometry import quats_to_matrices, to_world
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

COUNT, TIMES = 60, 5


@pytest.fixture(scope="module")
def encoder() -> str:
    try:
        return _find_encoder("the test")
    except ImportError:
        pytest.skip("needs the extra `splat4d`")


@pytest.fixture(scope="module")
def scene() -> BakedGaussians:
    """Five frames, in 2 s, of Gaussians that all move, turn, grow and fade, in a world twice as large."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    steps = torch.arange(TIMES)[:, None, None] / TIMES
    raw = RawGaussians(
        means=0.2 * normal(1, COUNT, 3) + 0.1 * steps * normal(1, COUNT, 3),
        quats=torch.nn.functional.normalize(normal(1, COUNT, 4) + steps * normal(1, COUNT, 4), dim=-1),
        log_scales=0.5 * normal(1, COUNT, 3) - 4 + steps * normal(1, COUNT, 3),
        opacity_logits=(normal(1, COUNT, 1) + steps * normal(1, COUNT, 1))[..., 0],
        sh=(0.5 * normal(1, COUNT, 3) + 0.3 * steps * normal(1, COUNT, 3))[:, :, None],
    )
    signs = torch.where(torch.rand(TIMES, COUNT, 1, generator=generator) < 0.5, -1.0, 1.0)  # of the same rotations
    flipped = replace(raw, quats=raw.quats * signs)
    timeline = Timeline(tuple(torch.linspace(0, 1, TIMES).tolist()), 2.0, False)
    return BakedGaussians(flipped, timeline, Similarity(0.5, torch.eye(3), torch.tensor([0.1, 0.0, 0.0])))


@pytest.fixture(scope="module")
def decoded(encoder: str, scene: BakedGaussians, tmp_path_factory: pytest.TempPathFactory) -> BakedGaussians:
    path = tmp_path_factory.mktemp("splat4d") / "a.splat4d"
    assert export_scene(scene, path) == [path] and list(path.parent.iterdir()) == [path]
    return read_splat4d(path)


def test_rows_are_the_same_gaussians_in_all_frames_within_the_bounds(
    scene: BakedGaussians, decoded: BakedGaussians
) -> None:
    """The first frame tells which row is which Gaussian; it holds in all others."""
    truth = to_world(scene.frames, scene.world)
    rows = torch.cdist(decoded.frames.means[0], truth.means[0]).argmin(1)
    assert sorted(rows.tolist()) == list(range(COUNT))
    ours, theirs = (frames.activate() for frames in (decoded.frames, truth))
    assert (ours.means - theirs.means[:, rows]).abs().max() <= 0.001 * 2 + 1e-6  # the diameter of the ball is 2 here
    assert (ours.scales / theirs.scales[:, rows] - 1).abs().max() <= 0.05 + 1e-3
    half_byte = 0.5 / 255
    assert (ours.opacities - theirs.opacities[:, rows]).abs().max() <= 4 / 255 + half_byte + 1e-4
    seen = (0.28209479 * theirs.sh[:, rows] + 0.5).clamp(0, 1)
    assert (0.28209479 * ours.sh + 0.5 - seen).abs().max() <= 4 / 255 + half_byte + 1e-4
    turned = quats_to_matrices(ours.quats) - quats_to_matrices(theirs.quats[:, rows])
    assert turned.abs().max() < 0.25


def test_the_frames_have_the_speed_of_the_clip(decoded: BakedGaussians) -> None:
    assert decoded.timeline.times == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert decoded.timeline.duration == pytest.approx(2)


def test_uneven_times_are_spread_evenly(encoder: str, scene: BakedGaussians, tmp_path: Path) -> None:
    (path,) = export_scene(scene, tmp_path / "a.splat4d", times=[0.0, 0.1, 1.0])
    decoded = read_splat4d(path)
    assert decoded.timeline.duration == pytest.approx(2) and len(decoded.frames.means) == 3
    middle = to_world(scene.raw_at(torch.tensor([0.5])), scene.world).means[0]
    assert torch.cdist(decoded.frames.means[1], middle).amin(1).max() < 0.004


def test_a_still_scene(encoder: str, scene: BakedGaussians, tmp_path: Path) -> None:
    (path,) = export_scene(scene, tmp_path / "a.splat4d", times=[0.5])
    assert read_splat4d(path).frames.means.shape == (1, COUNT, 3)


def test_damaged_files_are_named(encoder: str, scene: BakedGaussians, tmp_path: Path) -> None:
    (path,) = export_scene(scene, tmp_path / "a.splat4d")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.splat4d"):
        read_splat4d(path)
    with pytest.raises(ValueError, match=r"b\.splat4d"):
        read_splat4d(tmp_path / "b.splat4d")


@pytest.mark.skipif(sys.platform == "win32", reason="scripts without an ending run only elsewhere")
def test_a_failing_encoder_leaves_nothing(
    scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "splat4d"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Error: no bound holds' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="no bound holds"):
        export_scene(scene, tmp_path / "out" / "a.splat4d")
    assert not list((tmp_path / "out").glob("*"))


def test_the_extra_is_named_where_it_is_missing(
    scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ImportError, match=r"splat4d"):
        export_scene(scene, tmp_path / "a.splat4d")
    assert list(tmp_path.iterdir()) == []
