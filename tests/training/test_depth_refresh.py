"""Depth images for the occlusion test are rendered when a step reads outdated ones, and at no other step."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import ds4d.training.trainer as trainer_module
from ds4d.config import GenerateConfig
from ds4d.fusion import FusionConfig
from ds4d.pipeline import prepare
from ds4d.training import Trainer
from ds4d.types import MultiViewVideo


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Four static and twelve dynamic steps on all times; densification after the eighth step."""
    training = replace(
        quick_config.training,
        static_steps=4,
        dynamic_steps=12,
        times_per_step=2,
        temporal_curriculum=0.0,
        densification=replace(quick_config.training.densification, every=8, start=0.0),
    )
    fusion = FusionConfig(rule="visible", channels=4, depth_every=5, depth_size=16)
    return replace(quick_config, training=training, fusion=fusion)


def rendered_frames(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[int]]]:
    """The step and the frames of every rendering of depth images in a whole training."""
    found: list[tuple[int, list[int]]] = []
    render = trainer_module.render_depths

    def spy(scene, renderer, rows):
        found.append((trainer.step, rows.tolist()))
        return render(scene, renderer, rows)

    monkeypatch.setattr(trainer_module, "render_depths", spy)
    for _ in trainer.run():
        pass
    return found


def test_outdated_depths_are_rendered_once_when_they_are_read(
    quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prepare(quick_video, config, torch.device("cpu"))
    sampled: list[tuple[int, int]] = []
    sample = trainer.sampler.sample

    def spy(*arguments):
        batch = sample(*arguments)
        sampled.extend((trainer.step, time) for time in batch.times.tolist())
        return batch

    monkeypatch.setattr(trainer.sampler, "sample", spy)
    rendered = [(step, frame) for step, frames in rendered_frames(trainer, monkeypatch) for frame in frames]
    bounds = [4, 8, 9, 14, 16]  # steps from which all are outdated, and the end
    for first, last in pairwise(bounds):
        read = [(step, frame) for step, frame in sampled if first <= step < last]
        expected = {frame: min(step for step, other in read if other == frame) for _, frame in read}
        found = [(frame, step) for step, frame in rendered if first <= step < last]
        assert len(found) == len(expected) and dict(found) == expected
    never_read = set(range(quick_video.num_times)) - {frame for step, frame in sampled if step >= 14}
    assert {frame for step, frame in rendered if step == 16} == never_read
    assert not trainer.stale_depths.any()


def test_rules_without_depths_render_none(
    quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, fusion=FusionConfig(rule="distance", channels=4))
    assert rendered_frames(prepare(quick_video, config, torch.device("cpu")), monkeypatch) == []
