"""Where the rotation of the whole object is learned, and when it is left to the field."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.data.synthetic import SampleConfig, sample_video
from ds4d.pipeline import prepare
from ds4d.pipeline.fits import choose_windows
from ds4d.scene import DynamicGaussians
from ds4d.training import Trainer, load_checkpoint, save_checkpoint
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")
SETTLED = 22  # two static steps and twenty on all frames


@pytest.fixture
def video(quick_video: MultiViewVideo) -> MultiViewVideo:
    """A video whose other views weigh less, as generated ones do."""
    return replace(quick_video, view_weights=torch.tensor([1.0] + [0.5] * (quick_video.num_views - 1)))


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    training = replace(
        quick_config.training, static_steps=2, dynamic_steps=26, temporal_curriculum=0.0, low_resolution_fraction=1.0
    )
    return replace(quick_config, training=training, fusion=None)


def with_root(config: GenerateConfig, choice: str) -> GenerateConfig:
    assert config.field is not None
    return replace(config, field=replace(config.field, root_rotation=choice))  # ty: ignore[invalid-argument-type]


def turned_by(trainer: Trainer, step: float) -> Trainer:
    """The same trainer, whose object turns by some radians from frame to frame."""
    assert trainer.root is not None
    with torch.no_grad():
        trainer.root.steps.fill_(step)
    return trainer


def take_steps(trainer: Trainer, last: int) -> None:
    for _ in trainer.run():
        if trainer.step == last:
            return


def test_it_is_learned_where_views_are_generated(
    config: GenerateConfig, video: MultiViewVideo, quick_video: MultiViewVideo
) -> None:
    assert prepare(video, config, CPU).root is not None
    assert prepare(quick_video, config, CPU).root is None
    assert prepare(quick_video, with_root(config, "on"), CPU).root is not None
    assert prepare(video, with_root(config, "off"), CPU).root is None


def test_a_small_turn_is_left_to_the_field_once_all_frames_were_seen(
    config: GenerateConfig, video: MultiViewVideo
) -> None:
    trainer = prepare(video, config, CPU)
    take_steps(trainer, SETTLED)
    assert trainer.root is not None
    take_steps(trainer, SETTLED + 1)
    assert trainer.root is None
    assert not any("root" in name for name in (*trainer.scene.state_dict(), *trainer.optimizer.state_dict()))


def test_a_large_turn_stays_and_is_stored_with_the_scene(
    tmp_path: Path, config: GenerateConfig, video: MultiViewVideo
) -> None:
    trainer = turned_by(prepare(video, config, CPU), 0.4)
    take_steps(trainer, SETTLED + 3)
    assert trainer.root is not None
    trainer.scene.save(tmp_path)
    read = DynamicGaussians.load(tmp_path)
    times = torch.tensor([0.0, 0.3, 1.0])
    with torch.no_grad():
        torch.testing.assert_close(read.at(times).means, trainer.scene.at(times).means)


def test_generated_views_weigh_less_the_further_the_object_turns(config: GenerateConfig, video: MultiViewVideo) -> None:
    def weights(step: float) -> tuple[float, float]:
        trainer = turned_by(prepare(video, config, CPU), step)
        seen: dict[bool, float] = {}

        def keep(_, given):
            (inputs,) = given
            seen.update(
                {bool(view == 0): float(weight) for view, weight in zip(inputs.views, inputs.weights, strict=True)}
            )

        trainer.objective.register_forward_pre_hook(keep)
        take_steps(trainer, 6)
        return seen[True], seen[False]

    quarter = 2 * torch.pi / 4 / (video.num_times - 1)
    assert weights(0.0) == pytest.approx((1.0, 0.5), abs=0.05)
    assert weights(quarter) == pytest.approx((1.0, 0.5 * 0.75**2), abs=0.05)
    assert weights(8 * quarter) == pytest.approx((1.0, 0.05))


@pytest.mark.parametrize("step", [0.0, 0.4], ids=["dropped", "kept"])
@pytest.mark.parametrize("stop", [10, SETTLED, SETTLED + 2])
def test_resume_is_bit_exact(
    tmp_path: Path, config: GenerateConfig, video: MultiViewVideo, step: float, stop: int
) -> None:
    whole = turned_by(prepare(video, config, CPU), step)
    take_steps(whole, stop)
    save_checkpoint(whole, tmp_path / "last.safetensors")
    again = prepare(video, config, CPU)
    load_checkpoint(again, tmp_path / "last.safetensors")
    for trainer in (whole, again):
        take_steps(trainer, SETTLED + 5)
    assert whole.scene.state_dict().keys() == again.scene.state_dict().keys()
    for (name, own), other in zip(whole.scene.state_dict().items(), again.scene.state_dict().values(), strict=True):
        assert torch.equal(own, other), name


def test_a_clip_in_windows_refuses_a_rotation_that_is_asked_for(config: GenerateConfig) -> None:
    clip = sample_video(SampleConfig(frames=10, size=32, supersampling=1))
    divided = replace(config, windows=replace(config.windows, mode="on", frames=6, overlap=2))
    assert len(choose_windows(clip, divided)) > 1
    with pytest.raises(ValueError, match="root-rotation"):
        choose_windows(clip, with_root(divided, "on"))
    assert len(choose_windows(clip, with_root(replace(divided, windows=config.windows), "on"))) == 1
