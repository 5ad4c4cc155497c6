"""Scores of a scene on training images and on the files of held-out views."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.data import read_transforms
from ds4d.evaluation import evaluate, render_frames, score_training_views
from ds4d.io import read_rgba
from ds4d.metrics import METRICS, Lpips, psnr
from ds4d.pipeline import prepare
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians, render_rgb
from ds4d.types import MultiViewVideo

CPU = renderer_for("cpu")


@pytest.fixture(scope="module")
def scene(finished_run: Path) -> DynamicGaussians:
    return DynamicGaussians.load(finished_run)


def rewrite(source: Path, target: Path, change) -> None:
    """A copy of a transforms file, in another folder, with changed frames; the images stay where they are."""
    content = json.loads(source.read_text())
    target.parent.mkdir(exist_ok=True)
    (target.parent / "test").symlink_to(source.parent / "test")
    content["frames"] = [change(dict(frame)) for frame in content["frames"]]
    target.write_text(json.dumps(content))


def test_frames_are_rendered_at_their_camera_size_and_time(scene: DynamicGaussians, sample_folder: Path) -> None:
    frames = read_transforms(sample_folder / "transforms_test.json")[:6]
    larger = [replace(f, width=96, height=96, K=f.K * torch.tensor([[2.0], [2.0], [1.0]])) for f in frames[:2]]
    images = list(render_frames(scene, CPU, [*frames[2:], *larger]))
    assert [image.shape for image in images] == [(48, 48, 4)] * 4 + [(96, 96, 4)] * 2
    truth = read_rgba(frames[2].image)
    overlap = (images[0][..., 3] > 127) & (truth[..., 3] > 127)
    assert overlap.sum() > 0.8 * (truth[..., 3] > 127).sum()


def test_frames_are_grouped_by_view(tmp_path: Path, scene: DynamicGaussians, sample_folder: Path) -> None:
    named = evaluate(scene, CPU, sample_folder, "test")
    assert list(named.views) == ["test0", "test1", "test2", "test3"] and named.images == 24
    assert set(named.total) == set(METRICS)
    assert named.total["psnr"] == pytest.approx(np.mean([view["psnr"] for view in named.views.values()]))
    drop = {"view", "frame"}
    rewrite(
        sample_folder / "transforms_test.json",
        tmp_path / "data" / "transforms_test.json",
        lambda frame: {key: value for key, value in frame.items() if key not in drop},
    )
    alone = evaluate(scene, CPU, tmp_path / "data", "test")
    assert len(alone.views) == alone.images == 24
    assert alone.total["psnr"] == pytest.approx(named.total["psnr"], abs=1e-6)  # views are equally long here
    assert math.isnan(alone.total["psnr_dynamic"]) and math.isnan(alone.total["motion_error"])


def test_frames_may_be_in_any_order(tmp_path: Path, scene: DynamicGaussians, sample_folder: Path) -> None:
    target = tmp_path / "data" / "transforms_test.json"
    rewrite(sample_folder / "transforms_test.json", target, lambda frame: frame)
    content = json.loads(target.read_text())
    content["frames"].reverse()
    target.write_text(json.dumps(content))
    ours, theirs = evaluate(scene, CPU, tmp_path / "data", "test"), evaluate(scene, CPU, sample_folder, "test")
    assert ours.total == pytest.approx(theirs.total)


def test_missing_files_are_named(tmp_path: Path, scene: DynamicGaussians, sample_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"transforms_val\.json"):
        evaluate(scene, CPU, sample_folder, "val")
    rewrite(
        sample_folder / "transforms_test.json",
        tmp_path / "data" / "transforms_test.json",
        lambda frame: frame | {"image": "test/absent.png"},
    )
    with pytest.raises(ValueError, match=r"absent\.png"):
        evaluate(scene, CPU, tmp_path / "data", "test")


def test_training_views_are_scored_on_white(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    trainer = prepare(quick_video, quick_config, torch.device("cpu"))
    valid = quick_video.valid.clone()
    valid[2, 1] = valid[:, 4] = False
    video = replace(trainer.video, valid=valid)
    scores = score_training_views(trainer.scene, CPU, video)
    assert scores.shape == (7,) and scores[4].isnan()
    for view, times in ((0, range(6)), (1, [0, 1, 3, 4, 5])):
        times = torch.tensor(times)
        views = torch.full_like(times, view)
        rendered = np.stack(
            list(render_rgb(trainer.scene, CPU, video.cameras.select(times, views), video.times[times]))
        )
        truth = video.gather(times, views).composite(torch.ones(len(times), 3))
        expected = psnr(torch.from_numpy(rendered).movedim(-1, 1) / 255, truth).mean()
        assert scores[view].item() == pytest.approx(expected.item(), abs=0.02)  # not rounded to bytes


def test_lpips_is_scored_if_its_network_is_given(scene: DynamicGaussians, sample_folder: Path, lpips: Lpips) -> None:
    scored = evaluate(scene, CPU, sample_folder, "test", lpips=lpips)
    plain = evaluate(scene, CPU, sample_folder, "test")
    assert scored.total.keys() - plain.total.keys() == {"lpips"}
    assert 0 < scored.total["lpips"] < 1
    assert scored.total["lpips"] == pytest.approx(np.mean([view["lpips"] for view in scored.views.values()]))
