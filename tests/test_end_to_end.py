"""From the sample's images to an object that is right from held-out views, and moves."""

from pathlib import Path

import numpy as np
import pytest

from ds4d.data import TransformsFrame, read_transforms
from ds4d.evaluation import Evaluation, evaluate, render_frames
from ds4d.io import read_rgba
from ds4d.metrics import average_views, score_view
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians


@pytest.fixture(scope="module")
def scene(finished_run: Path) -> DynamicGaussians:
    return DynamicGaussians.load(finished_run)


@pytest.fixture(scope="module")
def evaluation(scene: DynamicGaussians, sample_folder: Path) -> Evaluation:
    return evaluate(scene, renderer_for("cpu"), sample_folder, "test")


def test_held_out_views_are_reproduced(evaluation: Evaluation) -> None:
    assert evaluation.images == 24
    assert evaluation.total["psnr"] > 20.0  # 21.0 as measured; a hull with mean colors has 15
    assert evaluation.total["iou"] > 0.85


def test_motion_is_better_than_the_true_middle_frame_at_all_times(scene: DynamicGaussians, sample_folder: Path) -> None:
    clips: dict[str | None, list[TransformsFrame]] = {}
    for frame in read_transforms(sample_folder / "transforms_test.json"):
        clips.setdefault(frame.view, []).append(frame)
    ours, frozen = [], []
    for clip in clips.values():
        truth = np.stack([read_rgba(frame.image) for frame in clip])
        rendered = np.stack(list(render_frames(scene, renderer_for("cpu"), clip)))
        others = np.arange(len(clip)) != len(clip) // 2  # the middle frame itself would be perfect
        middle = np.broadcast_to(truth[len(clip) // 2], truth.shape)
        ours.append(score_view(truth[others], rendered[others]))
        frozen.append(score_view(truth[others], middle[others]))
    ours, frozen = average_views(ours), average_views(frozen)
    assert ours["psnr"] > frozen["psnr"] + 2
    assert ours["psnr_dynamic"] > frozen["psnr_dynamic"] + 2
