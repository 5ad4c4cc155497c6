"""Depth images for the occlusion test are rendered on schedule, and at no other step."""

from dataclasses import replace

import pytest
import torch

import ds4d.training.trainer as trainer_module
from ds4d.config import GenerateConfig
from ds4d.fusion import FusionConfig
from ds4d.pipeline import prepare
from ds4d.types import MultiViewVideo


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("visible", [4, 8, 9, 14]), ("distance", [])],
)
def test_depths_are_rendered_at_intervals_and_after_densification(
    quick_video: MultiViewVideo,
    quick_config: GenerateConfig,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    expected: list[int],
) -> None:
    """Four static and twelve dynamic steps; densification after the eighth step."""
    density = replace(quick_config.training.densification, every=8, start=0.0)
    config = replace(
        quick_config,
        training=replace(quick_config.training, static_steps=4, dynamic_steps=12, densification=density),
        fusion=FusionConfig(rule=rule, channels=4, depth_every=5, depth_size=16),
    )
    trainer = prepare(quick_video, config, torch.device("cpu"))
    rendered: list[int] = []
    render = trainer_module.render_depths

    def spy(*arguments):
        rendered.append(trainer.step)
        return render(*arguments)

    monkeypatch.setattr(trainer_module, "render_depths", spy)
    for _ in trainer.run():
        pass
    assert rendered == expected
