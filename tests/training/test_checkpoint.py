"""A fit taken up again is the fit that was never interrupted, bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.pipeline import prepare
from ds4d.training import DensityChanged, Trainer, TrainingDiverged, load_checkpoint, save_checkpoint
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Twenty steps; density changes after the 6th, the 12th and the 18th."""
    density = replace(quick_config.fit.density, every=6, start=0.0, stop=1.0)
    return replace(quick_config, fit=replace(quick_config.fit, static_steps=4, dynamic_steps=16, density=density))


def run_until(trainer: Trainer, step: int) -> list[DensityChanged]:
    changes = []
    for event in trainer.run():
        if isinstance(event, DensityChanged):
            changes.append(event)
        elif event.step == step:
            break
    return changes


def all_state(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that the next step depends on."""
    return {
        **trainer.scene.state_dict(),
        **{f"adam.{name}": value for name, value in trainer.optimizer.tensors().items()},
        "grad2d": trainer.density.grad2d,
        "counts": trainer.density.counts,
        "random": trainer.generator.get_state(),
    }


@pytest.mark.parametrize("stop", [3, 9])
def test_a_resumed_fit_equals_the_uninterrupted_one(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, stop: int
) -> None:
    whole = prepare(quick_video, config, CPU)
    list(whole.run())
    first = prepare(quick_video, config, CPU)
    run_until(first, stop)
    save_checkpoint(first, tmp_path / "fit.safetensors")
    torch.manual_seed(123)  # nothing may depend on the process's own generator
    second = prepare(quick_video, config, CPU)
    load_checkpoint(second, tmp_path / "fit.safetensors")
    assert second.step == stop and second.seconds == first.seconds
    changes = [event.step for event in second.run() if isinstance(event, DensityChanged)]
    assert changes == [step for step in (6, 12, 18) if step > stop]
    expected = all_state(whole)
    found = all_state(second)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_scene_with_nan_is_not_saved_over_a_good_one(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    trainer = prepare(quick_video, config, CPU)
    save_checkpoint(trainer, tmp_path / "fit.safetensors")
    before = (tmp_path / "fit.safetensors").read_bytes()
    with torch.no_grad():
        trainer.scene.gaussians.quats[3] = torch.nan
    with pytest.raises(TrainingDiverged, match="the gradient of the total must be finite"):
        save_checkpoint(trainer, tmp_path / "fit.safetensors")
    assert (tmp_path / "fit.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    path = tmp_path / "fit.safetensors"
    trainer = prepare(quick_video, config, CPU)
    with pytest.raises(ValueError, match=r"fit\.safetensors must exist, got none\. Start without --resume"):
        load_checkpoint(trainer, path)
    save_checkpoint(trainer, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"fit\.safetensors is damaged"):
        load_checkpoint(trainer, path)
    path.write_bytes(b"no tensors at all")
    with pytest.raises(ValueError, match=r"fit\.safetensors is damaged"):
        load_checkpoint(trainer, path)


def test_a_checkpoint_of_another_field_is_refused(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    assert config.field is not None
    save_checkpoint(prepare(quick_video, config, CPU), tmp_path / "fit.safetensors")
    wider = replace(config, field=replace(config.field, width=40))
    with pytest.raises(ValueError, match="belongs to a fit of another shape"):
        load_checkpoint(prepare(quick_video, wider, CPU), tmp_path / "fit.safetensors")
