"""Runs that can be opened, and those that cannot: stopped, running, damaged, newer, without their input."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notices_to
from ds4d.io import write_video
from ds4d.multiview import ViewsConfig
from ds4d.pipeline import iter_run, read_input
from ds4d.runs import read_record
from ds4d.training import StepDone
from ds4d.viewer import open_run
from ds4d.viewer.input_views import IMAGE_SIZE
from ds4d.visualize import input_image

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def video_run(sample_folder: Path, quick_config: GenerateConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on a video with generated views."""
    folder = tmp_path_factory.mktemp("video") / "run"
    fit = replace(quick_config.training, static_steps=2, dynamic_steps=4)
    outputs = replace(quick_config.outputs, size=16, seconds=0.2)
    config = replace(quick_config, views=ViewsConfig(size=48), training=fit, outputs=outputs)
    list(iter_run(sample_folder / "front.mp4", folder, config=config, device="cpu"))
    return folder


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_opens_with_its_input(finished_run: Path) -> None:
    with notices_to((notices := []).append):
        opened = open_run(finished_run, CPU)
    assert notices == []
    views = opened.views
    assert views is not None and len(views.names) == 7 and not views.has_moving_cameras
    assert views.frame_at(0.0) == 0 and views.frame_at(0.31) == 2 and views.frame_at(1.0) == 5
    image = views.image(2, 3, saliency=True)
    np.testing.assert_array_equal(image, input_image(views.video, 2, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert views.thumbnail(3).shape == (96, 96, 3)


def test_cameras_are_in_normalized_space(finished_run: Path) -> None:
    """Rendered through them, the scene matches the input."""
    from ds4d.evaluation import score_training_views
    from ds4d.rendering import renderer_for

    opened = open_run(finished_run, CPU)
    assert opened.views is not None
    scores = score_training_views(opened.scene, renderer_for("cpu"), opened.views.video)
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert float(scores[0]) == pytest.approx(metrics["input_psnr"], abs=1e-3)


def test_the_saliency_map_overlays_the_input_view(finished_run: Path) -> None:
    views = open_run(finished_run, CPU).views
    assert views is not None and views.saliency is not None and len(views.saliency) == 6
    assert views.saliency[0].shape[0] == IMAGE_SIZE
    overlaid, plain = views.image(2, 0, saliency=True), views.image(2, 0, saliency=False)
    assert np.abs(overlaid.astype(int) - plain).mean() > 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "video"),
        (lambda path: path.write_bytes(b"no video"), "video"),
        (
            lambda path: write_video(path, [np.zeros((8, 8, 3), np.uint8)] * 2, 6.0),
            "6 frames, got 2",
        ),
    ],
    ids=["missing", "damaged", "of another run"],
)
def test_an_unreadable_saliency_map_is_a_notice(run: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(run / "saliency.mp4")
    with notices_to((notices := []).append):
        views = open_run(run, CPU).views
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "viewer")]
    assert re.search(message, notices[0].message)
    assert views is not None and views.saliency is None and len(views.names) == 7


def test_a_missing_input_is_a_notice(run: Path) -> None:
    edit(run / "config.json", input=str(run / "nowhere"))
    with notices_to((notices := []).append):
        assert open_run(run, CPU).views is None
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "viewer")]
    assert "nowhere" in notices[0].message


def test_a_forbidden_input_is_a_notice(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's error is raised by a stand-in."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/there")

    monkeypatch.setattr(Path, "glob", refuse)
    with notices_to((notices := []).append):
        assert open_run(run, CPU).views is None
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "viewer")]
    assert "/there" in notices[0].message


def test_a_changed_input_is_a_notice(run: Path, sample_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(sample_folder, tmp_path / "other"))
    for path in other.glob("transforms_*.json"):
        content = json.loads(path.read_text())
        kept = sorted({frame["time"] for frame in content["frames"]})[:4]
        content["frames"] = [frame for frame in content["frames"] if frame["time"] in kept]
        path.write_text(json.dumps(content))
    edit(run / "config.json", input=str(other))
    with notices_to((notices := []).append):
        assert open_run(run, CPU).views is None
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "viewer")]
    assert "6" in notices[0].message


def test_a_run_on_a_video_opens_with_its_generated_views(video_run: Path, sample_folder: Path) -> None:
    views = open_run(video_run, CPU).views
    fitted = read_input(sample_folder / "front.mp4", read_record(video_run / "config.json").config, CPU).video
    assert views is not None and views.names == fitted.view_names and len(views.names) == 7
    np.testing.assert_array_equal(views.video.frames.read(3, 4), fitted.frames.read(3, 4))


def test_without_cached_views_the_input_view_is_shown_alone(
    video_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_run(video_run, CPU).views
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path))
    with notices_to((notices := []).append):
        alone = open_run(video_run, CPU).views
    assert (Degraded, "views") in [(type(notice), notice.part) for notice in notices]
    assert kept is not None and alone is not None and alone.names == ("front",)
    assert not (tmp_path / "views").exists(), "views were generated"
    np.testing.assert_array_equal(alone.image(2, 0, saliency=False), kept.image(2, 0, saliency=False))
    np.testing.assert_array_equal(alone.pose(2, 0).position, kept.pose(2, 0).position)


def test_views_of_missing_weights_are_not_shown(video_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(video_run, tmp_path / "run"))
    edit(run / "config.json", views_source="zero123plus")
    with notices_to((notices := []).append):
        views = open_run(run, CPU).views
    assert (Degraded, "views") in [(type(notice), notice.part) for notice in notices]
    assert views is not None and views.names == ("front",)


def test_an_unfinished_run_is_refused_with_its_step(
    sample_folder: Path, quick_config: GenerateConfig, tmp_path: Path
) -> None:
    config, total = replace(quick_config, log=replace(quick_config.log, every=2)), quick_config.training.total_steps
    events = iter_run(sample_folder, tmp_path / "run", config=config, device="cpu")
    for event in events:
        if isinstance(event, StepDone) and event.step == 5:
            with pytest.raises(ValueError, match=rf"step 4 of {total}.*--resume"):
                open_run(tmp_path / "run", CPU)  # while running
            events.close()
    with pytest.raises(ValueError, match=f"step 4 of {total}"):
        open_run(tmp_path / "run", CPU)  # after an interruption


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("baked.safetensors", "baked"),
        ("config.json", "config"),
    ],
)
def test_a_run_with_a_missing_file_is_refused(run: Path, name: str, message: str) -> None:
    (run / name).unlink()
    with pytest.raises(ValueError, match=message):
        open_run(run, CPU)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        open_run(tmp_path / "nothing", CPU)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["baked.safetensors", "scene.safetensors"])
@pytest.mark.parametrize("spoil", [_truncate, _flip_a_bit])
def test_a_damaged_file_is_refused(run: Path, name: str, spoil: Callable[[Path], None]) -> None:
    """Also one that playback does not read."""
    spoil(run / name)
    with pytest.raises(ValueError, match=re.escape(name)):
        open_run(run, CPU)


def test_a_scene_of_a_newer_version_is_refused(run: Path) -> None:
    edit(run / "scene.json", format=99)
    with pytest.raises(ValueError, match=r"format.*99"):
        open_run(run, CPU)


def test_settings_of_a_newer_version_are_refused(run: Path) -> None:
    edit(run / "config.json", ds4d="99.0", magic=1)
    with pytest.raises(ValueError, match=r"config\.json.*99\.0"):
        open_run(run, CPU)
