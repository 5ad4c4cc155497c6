"""Training with score distillation: loss terms, resuming, and missing weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notices_to
from ds4d.guidance import GuidanceConfig
from ds4d.losses import ViewLoss
from ds4d.pipeline import prepare
from ds4d.training import StepDone, Trainer, load_checkpoint, save_checkpoint
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture
def config(quick_config: GenerateConfig, zero123_folder: Path) -> GenerateConfig:
    """Four static steps and six dynamic ones; densification after the fourth and the eighth."""
    density = replace(quick_config.training.densification, every=4, start=0.0, stop=1.0)
    return replace(
        quick_config,
        training=replace(quick_config.training, static_steps=4, dynamic_steps=6, densification=density),
        guidance=GuidanceConfig(weight=1e-3, model=zero123_folder, sizes=(16, 32), images=2),
    )


def steps_of(trainer: Trainer) -> list[StepDone]:
    return [event for event in trainer.run() if isinstance(event, StepDone)]


def test_sds_loss_is_among_the_terms(quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    trainer = prepare(quick_video, config, CPU)
    assert isinstance(trainer.guide, ViewLoss)
    losses = config.training.losses
    steps = steps_of(trainer)
    assert [step.step for step in steps] == list(range(1, 11))
    for step in steps:
        assert list(step.terms)[-1] == "sds" and step.terms["sds"] > 0
        others = {name: value for name, value in step.terms.items() if name != "sds"}
        weights = {name: getattr(getattr(losses, name), "weight", getattr(losses, name)) for name in others}
        rest = sum(weights[name] * value for name, value in others.items())
        factor = min(1.0, step.step / 10 / 0.25)
        assert step.loss == pytest.approx(factor * rest + 1e-3 * step.terms["sds"], rel=1e-4)


def test_guidance_moves_the_gaussians(quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    """Compared with training with the same random numbers and a negligible weight."""
    guided, hardly = (
        prepare(
            quick_video, replace(config, guidance=replace(config.guidance, weight=weight, warmup_fraction=0.0)), CPU
        )
        for weight in (1.0, 1e-12)
    )
    first, second = next(guided.run()), next(hardly.run())
    assert {**first.terms} == pytest.approx({**second.terms}, rel=1e-5)
    moved = (guided.scene.gaussians.means - hardly.scene.gaussians.means).abs().amax(-1)
    assert (moved > 0).float().mean() > 0.3  # a first step of Adam depends on the signs of gradients alone


def test_densification_uses_the_rendered_views(quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    guided = prepare(quick_video, config, CPU)
    alone = prepare(quick_video, replace(config, guidance=GuidanceConfig()), CPU)
    next(guided.run()), next(alone.run())
    views, images = config.training.static_views, config.guidance.images
    assert alone.densification.count.max() <= views < guided.densification.count.max() <= views + images


def test_resume_is_bit_exact(tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    whole = prepare(quick_video, config, CPU)
    steps = steps_of(whole)
    first = prepare(quick_video, config, CPU)
    for event in first.run():
        if isinstance(event, StepDone) and event.step == 6:
            break
    save_checkpoint(first, tmp_path / "fit.safetensors")
    torch.manual_seed(123)  # the global generator must not matter
    second = prepare(quick_video, config, CPU)
    load_checkpoint(second, tmp_path / "fit.safetensors")
    for ours, theirs in zip(steps_of(second), steps[6:], strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)
    state = whole.scene.state_dict()
    assert [name for name, value in second.scene.state_dict().items() if not torch.equal(value, state[name])] == []


def test_model_is_found_in_the_weights_folder(
    quick_video: MultiViewVideo, config: GenerateConfig, zero123_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(zero123_folder.parent))
    found = prepare(quick_video, replace(config, guidance=replace(config.guidance, model=None)), CPU)
    assert found.guide is not None and found.guide.weight == 1e-3


def test_missing_model_disables_guidance_with_a_notice(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    absent = replace(config, guidance=replace(config.guidance, model=None))
    with notices_to((notices := []).append):
        trainer = prepare(quick_video, absent, CPU)
    assert [(type(notice), notice.part) for notice in notices] == [(Degraded, "guidance")]
    assert trainer.guide is None
    without = prepare(quick_video, replace(config, guidance=GuidanceConfig()), CPU)
    assert next(trainer.run()).terms == next(without.run()).terms


def test_zero_weight_disables_guidance(quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    off = replace(config, guidance=GuidanceConfig(model=Path("nowhere")))
    with notices_to((notices := []).append):
        assert prepare(quick_video, off, CPU).guide is None
    assert notices == []


def test_a_folder_that_is_named_must_hold_the_model(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    (tmp_path / "unet").mkdir()
    wrong = replace(config, guidance=replace(config.guidance, model=tmp_path))
    with pytest.raises(ValueError, match=r"Zero123-XL.*model_index\.json"):
        prepare(quick_video, wrong, CPU)
