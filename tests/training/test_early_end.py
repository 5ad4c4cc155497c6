"""An early end of training: what is held out, when training ends, and that a checkpoint keeps all of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.metrics import psnr
from ds4d.pipeline import prepare
from ds4d.training import StepDone, Trainer, load_checkpoint, save_checkpoint
from ds4d.training.checkpoint import read_checkpoint
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")
FIRST_LOOK, SECOND_LOOK, AVERAGED = 66, 116, 12  # steps: 16 until all frames are at full size, then every 50
NEVER_REACHED = 100.0  # dB


def ending_early(config: GenerateConfig, gain: float | None) -> GenerateConfig:
    """4 static and 146 dynamic steps, of which the last 12 are averaged."""
    training = replace(
        config.training,
        static_steps=4,
        dynamic_steps=146,
        temporal_curriculum=0.05,
        low_resolution_fraction=0.08,
        averaged_fraction=0.08,
        early_end_gain=gain,
    )
    return replace(config, training=training)


@pytest.fixture
def trainer(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> Trainer:
    return prepare(quick_video, ending_early(quick_config, NEVER_REACHED), CPU)


def test_training_ends_when_the_images_no_longer_gain(trainer: Trainer) -> None:
    steps = [event for event in trainer.run() if isinstance(event, StepDone)]
    assert steps[-1].step == steps[-1].total_steps == trainer.step == SECOND_LOOK + AVERAGED < 150
    assert steps[SECOND_LOOK - 2].total_steps == 150
    assert trainer.is_finished and not list(trainer.run())


def test_the_result_of_an_early_end_is_the_mean_of_the_last_steps(trainer: Trainer) -> None:
    seen = []
    events = trainer.run()
    while trainer.step < SECOND_LOOK + AVERAGED:
        next(events)
        seen.append(trainer.scene.gaussians.sh0.detach().clone())
    list(events)
    expected = torch.stack(seen[-AVERAGED:]).mean(0)
    torch.testing.assert_close(trainer.scene.gaussians.sh0.detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_fit_that_gains_takes_all_steps(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    trainer = prepare(quick_video, ending_early(quick_config, 0.0), CPU)
    list(trainer.run())
    assert trainer.step == 150


@pytest.mark.parametrize(
    ("scores", "ends_after"),
    [
        ([20.0, 21.0, 22.0, 23.0, 24.0], None),
        ([20.0, 21.0, 21.4, 21.4], 4),
        ([20.0, 20.4, 20.8, 21.2, 21.6], None),  # each look gains half of what is asked, two in a row enough
        ([20.0, 19.0, 21.0, 20.0, 20.0], 5),
    ],
)
def test_two_looks_without_gain_end_it(
    quick_video: MultiViewVideo, quick_config: GenerateConfig, scores: list[float], ends_after: int | None
) -> None:
    early_end = prepare(quick_video, ending_early(quick_config, 0.5), CPU).early_end
    for look, score in enumerate(scores, 1):
        early_end.add(look, score)
        assert early_end.end_step == (150 if ends_after is None or look < ends_after else ends_after + AVERAGED)


def test_what_is_held_out_is_never_trained_on(trainer: Trainer) -> None:
    held_out = trainer.early_end.held_out
    assert held_out.sum() == 2  # a sixteenth of 5 frames of 7 views
    assert not held_out[trainer.video.middle].any()
    trained = torch.zeros_like(held_out)
    for step in range(150):
        batch = trainer.schedule.sample(step, trainer.sampler)
        trained[batch.times[:, None], batch.views] = True
    assert torch.equal(trained, trainer.video.valid & ~held_out)


def test_generated_views_are_not_held_out(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    weights = torch.full((quick_video.num_views,), 0.5)
    weights[:4] = 1
    config = ending_early(quick_config, NEVER_REACHED)
    held_out = prepare(replace(quick_video, view_weights=weights), config, CPU).early_end.held_out
    assert held_out.any() and not held_out[:, 4:].any()


def test_a_video_of_few_images_holds_nothing_out(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    weights = torch.full((quick_video.num_views,), 0.5)
    weights[0] = 1
    config = ending_early(quick_config, NEVER_REACHED)
    trainer = prepare(replace(quick_video, view_weights=weights), config, CPU)
    assert not trainer.early_end.held_out.any()
    list(trainer.run())
    assert trainer.step == 150


def test_the_score_is_the_mean_psnr_of_the_held_out_images(trainer: Trainer) -> None:
    early_end, video, white = trainer.early_end, trainer.video, torch.ones(1, 1, 3)
    found = []
    for time, view in early_end.held_out.nonzero().tolist():
        camera = video.cameras[torch.tensor([[time]]), torch.tensor([[view]])]
        with torch.no_grad():
            rendering = trainer.renderer.render(trainer.scene.at(video.times[[time]]), camera, backgrounds=white)
        target = video.gather(torch.tensor([time]), torch.tensor([view])).composite(white[0])
        found.append(float(psnr(rendering.colors[0, 0], target[0])))
    assert early_end.score() == pytest.approx(sum(found) / len(found), abs=1e-4)


@pytest.mark.parametrize("at", [FIRST_LOOK + 4, SECOND_LOOK + 4])
def test_a_checkpoint_continues_bit_for_bit(
    tmp_path: Path, trainer: Trainer, quick_video: MultiViewVideo, quick_config: GenerateConfig, at: int
) -> None:
    events = trainer.run()
    while trainer.step < at:
        next(events)
    save_checkpoint(trainer, tmp_path / "last.safetensors")
    list(events)
    again = prepare(quick_video, ending_early(quick_config, NEVER_REACHED), CPU)
    load_checkpoint(again, tmp_path / "last.safetensors")
    list(again.run())
    assert again.step == trainer.step == SECOND_LOOK + AVERAGED
    theirs = dict(again.scene.named_parameters())
    assert all(torch.equal(values, theirs[name]) for name, values in trainer.scene.named_parameters())


@pytest.mark.parametrize("change", [{"best": float("nan")}, {"end_step": 151}, {"looks_without_gain": -1}, {"more": 0}])
def test_a_damaged_early_end_is_refused(
    tmp_path: Path, trainer: Trainer, quick_video: MultiViewVideo, quick_config: GenerateConfig, change: dict
) -> None:
    damaged = {"best": 1.0, "looks_without_gain": 0, "end_step": 150, **change}
    trainer.early_end.state_dict = lambda: damaged  # ty: ignore[invalid-assignment]
    save_checkpoint(trainer, tmp_path / "last.safetensors")
    assert set(change) <= set(read_checkpoint(tmp_path / "last.safetensors")["early_end"])
    again = prepare(quick_video, ending_early(quick_config, NEVER_REACHED), CPU)
    with pytest.raises(ValueError, match="early_end"):
        load_checkpoint(again, tmp_path / "last.safetensors")
