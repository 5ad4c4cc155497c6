"""Depth images for the occlusion test are rendered when a step reads outdated ones, and at no other step."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

import ds4d.training.depth_refresh as depth_refresh
from ds4d.config import GenerateConfig
from ds4d.fusion import FusionConfig
from ds4d.pipeline import prepare
from ds4d.scene import depth_images
from ds4d.training import Trainer
from ds4d.types import MultiViewVideo, Rendering

CPU = torch.device("cpu")


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
    render = depth_refresh.render_depths

    def spy(scene, renderer, rows):
        found.append((trainer.step, rows.tolist()))
        return render(scene, renderer, rows)

    monkeypatch.setattr(depth_refresh, "render_depths", spy)
    for _ in trainer.run():
        pass
    return found


def test_depths_are_rendered_when_a_step_reads_outdated_ones_that_training_did_not_replace(
    quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prepare(quick_video, config, torch.device("cpu"))
    sampled: list[tuple[int, list[int], list[list[int]]]] = []
    sample = trainer.sampler.sample

    def spy(*arguments):
        batch = sample(*arguments)
        sampled.append((trainer.step, batch.times.tolist(), batch.views.tolist()))
        return batch

    monkeypatch.setattr(trainer.sampler, "sample", spy)
    rendered = [(step, frame) for step, frames in rendered_frames(trainer, monkeypatch) for frame in frames]
    drawn: dict[tuple[int, int], int] = {}  # when each depth image was last drawn
    expected: list[tuple[int, int]] = []
    views = range(quick_video.num_views)

    def read(step: int, frames: Iterable[int]) -> None:
        for frame in frames:
            if any(drawn.get((frame, view), -1000) <= step - 5 for view in views):
                expected.append((step, frame))
                drawn.update({(frame, view): step for view in views})

    for step, times, chosen in sampled:
        if step >= 4:
            read(step, times)
            drawn.update({(time, view): step for time, row in zip(times, chosen, strict=True) for view in row})
    read(16, range(quick_video.num_times))
    assert sorted(rendered) == sorted(expected)
    assert trainer.depths.steps.tolist() == [[drawn[t, v] for v in views] for t in range(quick_video.num_times)]


def test_what_training_renders_becomes_the_depth_images(
    quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prepare(quick_video, replace(config, training=replace(config.training, static_steps=0)), CPU)
    next(trainer.run())
    assert trainer.scene.motion is not None and trainer.scene.motion.features is not None
    depths = trainer.scene.motion.features.depths
    assert depths is not None
    before = depths.clone()
    rendering: list[Rendering] = []
    render = trainer.renderer.render

    def spy(*arguments, **options):
        rendering.append(render(*arguments, **options))
        return rendering[-1]

    monkeypatch.setattr(trainer.renderer, "render", spy)
    trainer.depths.steps[:] = trainer.step  # none is outdated
    next(trainer.run())
    is_new = trainer.depths.steps == trainer.step - 1
    (last,) = rendering
    drawn = depth_images(last, depths.shape[-1], depths.shape[-2]).flatten(0, 1)
    changed = (depths != before).flatten(2).any(-1)
    assert 0 < int(changed.sum()) <= drawn.shape[0] and bool(is_new[changed].all())
    assert sorted(depths[changed].float().sum((1, 2, 3)).tolist()) == pytest.approx(
        sorted(x for x in drawn.half().float().sum((1, 2, 3)).tolist()), rel=1e-3
    )


def test_rules_without_depths_render_none(
    quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, fusion=FusionConfig(rule="distance", channels=4))
    assert rendered_frames(prepare(quick_video, config, torch.device("cpu")), monkeypatch) == []
