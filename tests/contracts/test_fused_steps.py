"""Training steps with all fused parts against those of the tensor form."""

from dataclasses import replace

import pytest
import torch
from fused_devices import FUSED_DEVICES
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import FUSED_PARTS, fused_parts, is_fused
from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.losses import LossConfig
from ds4d.pipeline import prepare
from ds4d.training import Trainer
from ds4d.types import MultiViewVideo

STEPS = 2  # of each stage


@pytest.fixture
def video(small_generated_video: MultiViewVideo) -> MultiViewVideo:
    return small_generated_video


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Every part that can be fused, in a fit of a few steps."""
    training = replace(
        quick_config.training,
        static_steps=STEPS,
        dynamic_steps=STEPS,
        low_resolution_fraction=0.0,
        losses=LossConfig(rigidity=0.5),
        densification=replace(quick_config.training.densification, every=1000),
    )
    planes = HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2))
    return replace(
        quick_config,
        init=replace(quick_config.init, num_gaussians=150),
        field=FieldConfig(planes, width=16, deform_opacity=True, deform_color=True),
        fusion=FusionConfig(channels=4, depth_size=16),
        training=training,
    )


def trained(video: MultiViewVideo, config: GenerateConfig, device: str, parts: tuple[str, ...]) -> list[Tensor]:
    """The terms of every step, and the parameters after the last."""
    with fused_parts(*parts):
        trainer: Trainer = prepare(video, config, torch.device(device))
        motion = trainer.scene.motion
        assert motion is not None and motion.tssf is not None and trainer.view_correction is not None
        terms = [torch.tensor([loss, *values.values()]) for loss, values in (step(trainer) for _ in range(2 * STEPS))]
        learned = [*trainer.scene.parameters(), *trainer.view_correction.parameters()]
        return [*terms, *(parameter.detach().cpu().clone() for parameter in learned)]


def step(trainer: Trainer) -> tuple[float, dict[str, float]]:
    loss, values = trainer._take_step()
    trainer.step += 1
    return loss, dict(sorted(values.items()))


@pytest.mark.parametrize("device", FUSED_DEVICES)
def test_steps_learn_what_those_of_the_tensor_form_do(
    video: MultiViewVideo, config: GenerateConfig, device: str
) -> None:
    plain, fused = (trained(video, config, device, parts) for parts in ((), FUSED_PARTS))
    for wanted, found in zip(plain[: 2 * STEPS], fused, strict=False):
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-5)
    # Adam turns rounding into steps of full size where a gradient is next to nothing, as in a head's bias of two
    # numbers: most numbers agree, and all together by their size.
    wanted, found = (torch.cat([learned.flatten() for learned in run[2 * STEPS :]]) for run in (plain, fused))
    assert (found - wanted).abs().sum() <= 0.02 * wanted.abs().sum()
    assert ((found - wanted).abs() <= 1e-4 + 1e-2 * wanted.abs()).float().mean() >= 0.95


@pytest.mark.parametrize("device", FUSED_DEVICES)
@pytest.mark.parametrize("part", FUSED_PARTS)
def test_a_part_is_on_where_it_is_asked_for_and_takes_single_precision(part: str, device: str) -> None:
    number = torch.zeros(1, device=device)
    with fused_parts():
        assert not is_fused(part, number)
    with fused_parts(part):
        assert is_fused(part, number) and not is_fused(part, number.double(), number)
        assert not any(is_fused(other, number) for other in FUSED_PARTS if other != part)
