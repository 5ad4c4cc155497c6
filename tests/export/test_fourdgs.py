"""Keyframes and changes in one file, decoded and validated by the package that defines the format."""

import sys
from pathlib import Path

import pytest
import torch

from ds4d.export import export_scene, fourdgs, read_fourdgs
from ds4d.geometry import quats_to_matrices, to_world
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

package = pytest.importorskip("fourdgs", reason="needs the extra `4dgs`")
COUNT, TIMES = 60, 11  # more frames than one keyframe serves


@pytest.fixture(scope="module")
def scene() -> BakedGaussians:
    """Eleven frames, in 2 s, of Gaussians of which two thirds change, in a world twice as large."""
    generator = torch.Generator().manual_seed(0)

    def changing(*shape: int, start: float, change: float) -> torch.Tensor:
        steps = torch.linspace(0, 1, TIMES).reshape(-1, *(1 for _ in shape))
        slopes = change * torch.randn(1, *shape, generator=generator)
        slopes[:, ::3] = 0
        return start * torch.randn(1, *shape, generator=generator) + steps * slopes

    raw = RawGaussians(
        means=changing(COUNT, 3, start=0.2, change=0.1),
        quats=torch.nn.functional.normalize(changing(COUNT, 4, start=1.0, change=0.5), dim=-1),
        log_scales=changing(COUNT, 3, start=0.5, change=0.5) - 4,
        opacity_logits=changing(COUNT, start=1.0, change=1.0),
        sh=changing(COUNT, 1, 3, start=0.5, change=0.3),
    )
    timeline = Timeline(tuple(torch.linspace(0, 1, TIMES).tolist()), 2.0, False)
    return BakedGaussians(raw, timeline, Similarity(0.5, torch.eye(3), torch.tensor([0.1, 0.0, 0.0])))


@pytest.fixture(scope="module")
def path(scene: BakedGaussians, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fourdgs") / "a.4dgs"
    assert export_scene(scene, path) == [path] and list(path.parent.iterdir()) == [path]
    return path


def test_rows_are_the_gaussians_of_the_scene_within_the_bounds(scene: BakedGaussians, path: Path) -> None:
    ours, theirs = read_fourdgs(path).frames.activate(), to_world(scene.frames, scene.world).activate()
    radius = float(theirs.scales.median())
    assert (ours.means - theirs.means).abs().max() <= 0.05 * radius * 1.01
    assert (ours.scales / theirs.scales).log().abs().max() <= 0.0199
    assert (ours.opacities - theirs.opacities).abs().max() <= 1.01 / 255
    seen = (0.28209479 * theirs.sh + 0.5).clamp(0, 1)
    assert (0.28209479 * ours.sh + 0.5 - seen).abs().max() <= 1.01 / 255
    assert (quats_to_matrices(ours.quats) - quats_to_matrices(theirs.quats)).abs().max() < 0.02


def test_frames_have_the_times_of_the_clip(scene: BakedGaussians, path: Path, tmp_path: Path) -> None:
    read = read_fourdgs(path)
    assert read.timeline.times == pytest.approx(scene.timeline.times) and read.timeline.duration == pytest.approx(2)
    (uneven,) = export_scene(scene, tmp_path / "a.4dgs", times=[0.2, 0.3, 1.0])
    assert read_fourdgs(uneven).timeline.times == pytest.approx((0.0, 0.125, 1.0))
    (still,) = export_scene(scene, tmp_path / "b.4dgs", times=[0.5])
    assert read_fourdgs(still).frames.means.shape == (1, COUNT, 3)


def test_the_package_finds_the_file_valid(path: Path) -> None:
    from fourdgs.validate import validate

    report = validate(path.read_bytes())
    assert not [finding for finding in report.findings if finding.severity == "error"], report.findings


def test_what_does_not_change_is_stored_once(scene: BakedGaussians, path: Path, tmp_path: Path) -> None:
    frames = RawGaussians(**{name: value[:1].expand_as(value) for name, value in vars(scene.frames).items()})
    at_rest = BakedGaussians(frames, scene.timeline, scene.world)
    (still,) = export_scene(at_rest, tmp_path / "a.4dgs")
    assert still.stat().st_size < path.stat().st_size / 2


def test_an_error_beyond_the_bounds_is_refused(
    scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourdgs import keyframe_delta_file

    def shifted(*arguments, render_at=keyframe_delta_file.render_at):
        found = render_at(*arguments)
        return found | {"centers": found["centers"] + 0.01}

    monkeypatch.setattr(keyframe_delta_file, "render_at", shifted)
    with pytest.raises(RuntimeError, match="positions"):
        export_scene(scene, tmp_path / "a.4dgs")
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_missing_files_are_named(path: Path, tmp_path: Path) -> None:
    (damaged := tmp_path / "c.4dgs").write_bytes(path.read_bytes()[:400])
    for name in (damaged, tmp_path / "d.4dgs"):
        with pytest.raises(ValueError, match=name.stem + r"\.4dgs"):
            read_fourdgs(name)


def test_too_many_frames_are_refused(scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourdgs, "_MOST_ROWS", 100)
    with pytest.raises(ValueError, match="660"):
        export_scene(scene, tmp_path / "a.4dgs")
    assert list(tmp_path.iterdir()) == []


def test_the_extra_is_named_where_it_is_missing(
    scene: BakedGaussians, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fourdgs.keyframe_delta_file", None)
    with pytest.raises(ImportError, match="4dgs"):
        export_scene(scene, tmp_path / "a.4dgs")
    assert list(tmp_path.iterdir()) == []
