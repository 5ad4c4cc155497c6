"""The mean of the last steps' parameters: its values, where it starts anew, and what a checkpoint keeps of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.pipeline import prepare
from ds4d.training import StepDone, Trainer
from ds4d.training.averaging import AverageOfLast
from ds4d.training.checkpoint import load_checkpoint, save_checkpoint
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


def with_averages(config: GenerateConfig, fraction: float) -> GenerateConfig:
    """Two static and eight dynamic steps without densification, and a mean of the last ones."""
    density = replace(config.training.densification, start=1.0)
    training = replace(
        config.training, static_steps=2, dynamic_steps=8, averaged_fraction=fraction, densification=density
    )
    return replace(config, training=training)


@pytest.fixture
def trainer(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> Trainer:
    return prepare(quick_video, with_averages(quick_config, 0.3), CPU)


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.scene.named_parameters()}


def test_the_result_is_the_mean_of_the_last_steps(trainer: Trainer) -> None:
    events, seen = trainer.run(), []
    while trainer.step < 10:
        next(events)
        seen.append(parameters(trainer))
    list(events)
    result = parameters(trainer)
    for name, values in result.items():
        expected = torch.stack([step[name] for step in seen[-3:]]).mean(0)
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(values, seen[-1][name]) for name, values in result.items())
    assert not list(trainer.run()) and trainer.average.count == 0


def test_without_averages_the_result_is_that_of_the_last_step(
    quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    trainer = prepare(quick_video, with_averages(quick_config, 0.0), CPU)
    events = trainer.run()
    while trainer.step < 10:
        next(events)
    last = parameters(trainer)
    list(events)
    assert all(torch.equal(values, last[name]) for name, values in parameters(trainer).items())


def test_means_of_values_that_stay_are_these_values(trainer: Trainer) -> None:
    average, before = AverageOfLast(trainer.scene), parameters(trainer)
    for _ in range(7):
        average.add()
    average.apply()
    assert all(torch.equal(values, before[name]) for name, values in parameters(trainer).items())


def test_it_starts_anew_when_the_gaussians_change(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    config = with_averages(quick_config, 1.0)
    density = replace(config.training.densification, every=4, start=0.0, stop=0.9)
    config = replace(config, training=replace(config.training, densification=density))
    trainer = prepare(quick_video, config, CPU)
    counts = [trainer.average.count for event in trainer.run() if isinstance(event, StepDone)]
    assert counts == [1, 2, 3, 1, 2, 3, 4, 1, 2, 3]


def test_a_checkpoint_between_averaged_steps_continues_bit_for_bit(
    tmp_path: Path, trainer: Trainer, quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    events = trainer.run()
    while trainer.step < 9:
        next(events)
    save_checkpoint(trainer, tmp_path / "last.safetensors")
    list(events)
    again = prepare(quick_video, with_averages(quick_config, 0.3), CPU)
    load_checkpoint(again, tmp_path / "last.safetensors")
    assert again.average.count == 2
    list(again.run())
    expected = parameters(trainer)
    assert all(torch.equal(values, expected[name]) for name, values in parameters(again).items())
