"""The depths that say what hides a point are drawn anew on their schedule, and at no other step."""

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
def test_depths_are_drawn_every_so_many_steps_and_as_the_set_changes(
    quick_video: MultiViewVideo,
    quick_config: GenerateConfig,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    expected: list[int],
) -> None:
    """Four static steps and twelve dynamic ones; the Gaussians grow after the eighth of all."""
    density = replace(quick_config.fit.density, every=8, start=0.0)
    config = replace(
        quick_config,
        fit=replace(quick_config.fit, static_steps=4, dynamic_steps=12, density=density),
        fusion=FusionConfig(rule=rule, channels=4, depth_every=5, depth_size=16),  # ty: ignore[invalid-argument-type]
    )
    trainer = prepare(quick_video, config, torch.device("cpu"))
    drawn: list[int] = []
    draw = trainer_module.render_depths

    def spy(*arguments):
        drawn.append(trainer.step)
        return draw(*arguments)

    monkeypatch.setattr(trainer_module, "render_depths", spy)
    for _ in trainer.run():
        pass
    assert drawn == expected
