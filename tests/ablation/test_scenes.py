"""Scenes of data folders, what they are scored on, and one fit of each kind."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.ablation import AblationScene, find_scenes, fit_scene, scenes
from ds4d.ablation.scenes import score_against_view, without_view
from ds4d.config import GenerateConfig
from ds4d.data import FolderConfig
from ds4d.evaluation import evaluate
from ds4d.io import write_png
from ds4d.metrics import METRICS
from ds4d.pipeline import prepare
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture
def few_steps(quick_config: GenerateConfig) -> GenerateConfig:
    return replace(quick_config, training=replace(quick_config.training, static_steps=4, dynamic_steps=8), fusion=None)


@pytest.fixture
def generated_folder(tmp_path: Path, quick_video: MultiViewVideo) -> Path:
    """Three frames of the sample's views in STAG4D's layout, as if rendered by its rig."""
    folder = tmp_path / "toy"
    for time in range(3):
        for view in range(7):
            rgba = quick_video.frames.read(time, view)
            name = f"ref/{time}_rgba.png" if view == 0 else f"zero123/{time}_rgba/{view - 1}.png"
            write_png(folder / name, np.where(rgba[..., 3:] > 0, rgba, 0))
    return folder


def test_scenes_follow_the_folders(sample_folder: Path, generated_folder: Path) -> None:
    known = AblationScene("views", sample_folder, "held-out views")
    own = AblationScene("toy", generated_folder, "the input view")
    assert find_scenes([sample_folder, generated_folder], FolderConfig()) == [known, own]
    held = find_scenes([sample_folder, generated_folder], FolderConfig(), perturb_views=True, hold_out=True)
    assert held[0] == replace(known, perturbed=True)
    assert [(scene.name, scene.held_out) for scene in held[1:]] == [(f"toy-view{i}", i) for i in range(1, 7)]
    assert {scene.scored_on for scene in held[1:]} == {"a held-out generated view"}


def test_options_without_effect_are_refused(sample_folder: Path, generated_folder: Path, tmp_path: Path) -> None:
    views = FolderConfig()
    with pytest.raises(ValueError, match="--perturb-views"):
        find_scenes([generated_folder], views, perturb_views=True)
    with pytest.raises(ValueError, match="--hold-out"):
        find_scenes([sample_folder], views, hold_out=True)
    with pytest.raises(ValueError, match="different names"):
        find_scenes([sample_folder, sample_folder], views)
    with pytest.raises(ValueError, match="nothing"):
        find_scenes([tmp_path / "nothing"], views)


def test_moving_cameras_are_refused(sample_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = scenes.load_training_views(AblationScene("views", sample_folder, "held-out views"), FolderConfig())
    viewmats = video.cameras.viewmats.clone()
    viewmats[1, 0, 0, 3] += 0.1
    moving = replace(video, cameras=replace(video.cameras, viewmats=viewmats))
    monkeypatch.setattr(scenes, "load_views", lambda folder, config: moving)
    with pytest.raises(ValueError, match="static cameras"):
        find_scenes([sample_folder], FolderConfig())


def test_dropping_a_view_keeps_the_others(quick_video: MultiViewVideo) -> None:
    names = tuple("abcdefg")
    weights = torch.arange(1.0, 8.0)
    confidence = torch.rand(6, 7, 1, 2, 2)
    valid = quick_video.valid.clone()
    valid[1, 5] = False
    video = replace(quick_video, view_names=names, view_weights=weights, pixel_weights=confidence, valid=valid)
    left = without_view(video, 3)
    kept = [0, 1, 2, 4, 5, 6]
    assert (left.num_times, left.num_views) == (6, 6) and left.view_names == tuple("abcefg")
    assert left.view_weights.tolist() == [1, 2, 3, 5, 6, 7]
    assert torch.equal(left.valid, valid[:, kept])
    assert left.pixel_weights is not None and torch.equal(left.pixel_weights, confidence[:, kept])
    assert torch.equal(left.cameras.viewmats, video.cameras.viewmats[:, kept])
    assert torch.equal(left.cameras.Ks, video.cameras.Ks[:, kept])
    for new, old in enumerate(kept):
        assert np.array_equal(left.frames.read(2, new), video.frames.read(2, old))
    assert (left.frames.width, left.frames.height) == (video.frames.width, video.frames.height)
    for index in (0, 7, -1):
        with pytest.raises(ValueError, match=f"index .*1 to 6, got {index}"):
            without_view(video, index)


def test_a_view_is_scored_like_its_files(
    sample_folder: Path, quick_video: MultiViewVideo, few_steps: GenerateConfig
) -> None:
    """The same images through transforms_mv.json: colors that went through alpha and back differ by rounding, which
    moves a few pixels across the threshold of what counts as dynamic."""
    trainer = prepare(quick_video, few_steps, CPU)
    scene = trainer.scene.bake()
    files = evaluate(scene, trainer.renderer, sample_folder, "mv").views
    for index, expected in enumerate(files.values(), start=1):
        found = score_against_view(scene, trainer.renderer, quick_video, index)
        assert found == pytest.approx(expected, rel=5e-3, abs=1e-3, nan_ok=True), index


def test_missing_frames_are_not_scored(quick_video: MultiViewVideo, few_steps: GenerateConfig) -> None:
    trainer = prepare(quick_video, few_steps, CPU)
    valid = quick_video.valid.clone()
    valid[1:, 2] = False
    scores = score_against_view(trainer.scene, trainer.renderer, replace(quick_video, valid=valid), 2)
    assert scores["psnr"] > 10 and math.isnan(scores["motion_error"])


def test_a_held_out_view_is_not_fitted(
    generated_folder: Path, few_steps: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    original = scenes.prepare
    monkeypatch.setattr(scenes, "prepare", lambda video, *rest: fitted.append(video) or original(video, *rest))
    whole = AblationScene("toy", generated_folder, "the input view")
    held = replace(whole, scored_on="a held-out generated view", held_out=2)
    for scene in (whole, held):
        score = fit_scene(scene, few_steps, CPU)
        assert set(score.metrics) == {*METRICS, "input_psnr"}
        assert score.seconds > 0 and 0 < score.num_gaussians <= 900
        # The input view is scored in 8 bit as a file, and unrounded as training images.
        assert math.isclose(score.metrics["psnr"], score.metrics["input_psnr"], abs_tol=0.1) == (scene is whole)
    assert [video.num_views for video in fitted] == [7, 6]


def test_further_metrics_are_those_of_the_protocols(sample_folder: Path, few_steps: GenerateConfig) -> None:
    """Those without weights have a reason in place of a value; what every fit is scored by is not computed twice."""
    scene = AblationScene("views", sample_folder, "held-out views")
    further = {"views": ("psnr", "detail_ratio", "clip_bigg", "fid_vid_pooled"), "tracks": ("track_error_raw",)}
    score = fit_scene(scene, few_steps, CPU, further)
    plain = fit_scene(scene, few_steps, CPU)
    assert set(score.metrics) - set(plain.metrics) == {
        "detail_ratio", "clip_bigg", "fid_vid_pooled", "track_error_raw"
    }  # fmt: skip
    assert score.metrics["psnr"] == plain.metrics["psnr"]
    assert 0 < score.metrics["detail_ratio"] < 3
    missing = {name for name, value in score.metrics.items() if math.isnan(value) and name not in plain.metrics}
    assert missing == set(score.not_computed) >= {"clip_bigg", "fid_vid_pooled"}
    assert plain.not_computed == {}


def test_one_view_has_further_metrics_of_images(generated_folder: Path, few_steps: GenerateConfig) -> None:
    scene = AblationScene("toy", generated_folder, "a held-out generated view", held_out=3)
    score = fit_scene(scene, few_steps, CPU, {"views": ("color_outliers",), "tracks": ("cd_m_raw",)})
    assert 0 <= score.metrics["color_outliers"] <= 100
    assert math.isnan(score.metrics["cd_m_raw"]) and "points.npy" in score.not_computed["cd_m_raw"]
