"""Recorded steps compute what eager ones do, and are recorded anew when what they read was replaced."""

import gc
import weakref
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import record_graphs
from ds4d.fusion import RULES, FusionConfig
from ds4d.losses import LossConfig, Term, ViewCorrectionConfig
from ds4d.metrics import Lpips
from ds4d.pipeline import prepare
from ds4d.scene import Resampling
from ds4d.scene.lifetimes import endless_lifetimes
from ds4d.training import Trainer
from ds4d.training.cuda_graphs import (
    EagerStep,
    Readback,
    RecordedStep,
    Recordings,
    Step,
    quick_collections,
)
from ds4d.training.sampling import SampleBatch
from ds4d.training.step import StepInputs, StepKind
from ds4d.types import MultiViewVideo

devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


@pytest.fixture
def video(small_generated_video: MultiViewVideo) -> MultiViewVideo:
    return small_generated_video


@pytest.fixture
def config(quick_config: GenerateConfig) -> GenerateConfig:
    training = replace(
        quick_config.training,
        losses=LossConfig(rigidity=0.5),
        low_resolution_fraction=0.0,
        view_correction=ViewCorrectionConfig(grid=3, knots=2),
        densification=replace(quick_config.training.densification, max_gaussians=200),
    )
    init = replace(quick_config.init, num_gaussians=150)
    return replace(quick_config, init=init, fusion=FusionConfig(channels=4, depth_size=16), training=training)


def with_losses(config: GenerateConfig, losses: LossConfig) -> GenerateConfig:
    return replace(config, training=replace(config.training, losses=losses))


def with_field(config: GenerateConfig, **changes) -> GenerateConfig:
    assert config.field is not None
    return replace(config, field=replace(config.field, **changes))


CONFIGS: dict[str, Callable[[GenerateConfig], GenerateConfig]] = {
    "hexplane": lambda config: replace(config, fusion=None),
    **{rule: lambda config, rule=rule: replace(config, fusion=FusionConfig(rule=rule, channels=4)) for rule in RULES},
    "gate": lambda config: with_field(
        replace(config, fusion=FusionConfig("average", 4, hidden_only=True)), dynamic_gate=True
    ),
    "colors": lambda config: with_field(config, deform_opacity=True, deform_color=True),
    "turning": lambda config: with_field(config, root_rotation="on"),
    "still": lambda config: with_losses(config, LossConfig(stillness=0.5)),
    "mask of generated views": lambda config: with_losses(config, LossConfig(mask=Term(0.5, "generated"))),
    "learned reference": lambda config: replace(config, decoupling=replace(config.decoupling, reference="learned")),
    "one view true": lambda config: replace(config, training=replace(config.training, view_correction=None)),
}


def made(video: MultiViewVideo, config: GenerateConfig, device: str) -> Trainer:
    """A trainer whose recordings on the CPU are the functions themselves."""
    trainer = prepare(video, config, torch.device(device))
    trainer.recordings = Recordings(trainer.functions, True, record_graphs if device == "cuda" else list)
    with torch.no_grad():  # heads of zeros would let no gradient through
        assert trainer.scene.field is not None
        for parameter in trainer.scene.field.heads.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=trainer.generator).to(parameter))
    return trainer


def inputs_of(trainer: Trainer, step: int) -> tuple[StepKind, StepInputs]:
    """What a step is given; the depth images that it reads are rendered."""
    trainer.step = step
    kind = StepKind(trainer.is_static_stage, *trainer.schedule.image_size(step))
    batch = trainer.schedule.sample(step, trainer.sampler)
    trainer.depths.update(batch.times, step)
    return kind, StepInputs.of(trainer.ranks.share(batch), trainer.scene.device)


def results(trainer: Trainer, step: Step, inputs: StepInputs) -> dict[str, Tensor]:
    """The losses of a step and the gradients of all parameters, also those on the screen, which it leaves cleared.

    An eager step must not be kept: its graph would tie the gradients to the stream that is recorded next.
    """
    rendering = trainer.renderer.render(step.gaussians, step.cameras, backgrounds=inputs.batch.backgrounds)
    total, values = step.losses(rendering)
    found = {"total": total.detach().clone(), **{name: value.clone() for name, value in values.items()}}
    step.backward(total)
    screen = rendering.info["means2d"].grad
    assert screen is not None
    found["screen"] = screen.clone()
    for i, parameter in enumerate(trainer.optimizer.trained()):
        if parameter.grad is not None:
            found[f"parameter {i}"] = parameter.grad.clone()
        parameter.grad = None
    return found


def check_recorded(trainer: Trainer, change: Callable[[StepInputs], StepInputs] = lambda inputs: inputs) -> None:
    """Recorded and replayed steps, at two numbers of Gaussians, equal eager ones; `change` makes their inputs."""
    dynamic = trainer.config.static_steps + 50
    for at in (0, 1, 2, dynamic, dynamic + 1, dynamic + 2, None, dynamic + 3, dynamic + 4, dynamic + 5):
        if at is None:
            trainer._resample(trainer.densification.densify_and_prune(trainer.scene.canonical(), trainer.generator))
            continue
        kind, inputs = inputs_of(trainer, at)
        inputs = change(inputs)
        wanted = results(trainer, EagerStep(trainer.functions, kind, inputs), inputs)
        found = results(trainer, trainer.recordings.step(kind, inputs, trainer.optimizer.trained()), inputs)
        assert trainer.recordings.has_recorded == (at not in (0, dynamic, dynamic + 3))
        assert found.keys() == wanted.keys()
        # On a GPU sums are in no fixed order, and TF32 makes more of the differences.
        tolerance = 2e-2 if trainer.scene.device.type == "cuda" else 1e-4
        for name, value in wanted.items():
            off = float((found[name] - value).norm())
            assert off <= tolerance * float(value.norm()) + 1e-8, f"{name}: {off} of {float(value.norm())}"
        with torch.no_grad():
            for name, parameter in trainer.scene.named_parameters():  # what follows must read what is there then
                if name.endswith(("means", "sh0", "weight")):
                    parameter.mul_(1.01)
            radii = torch.ones_like(wanted["screen"], dtype=torch.int32)
            trainer.densification.accumulate(wanted["screen"], radii, (kind.width, kind.height))


@devices
@pytest.mark.parametrize("name", CONFIGS)
def test_recorded_steps_equal_eager_ones(video: MultiViewVideo, config: GenerateConfig, name: str, device: str) -> None:
    check_recorded(made(video, CONFIGS[name](config), device))


@devices
def test_lives_and_weights_of_pixels_are_recorded(video: MultiViewVideo, config: GenerateConfig, device: str) -> None:
    size = video.num_times, video.num_views, 1, video.frames.height, video.frames.width
    weights = torch.rand(size, generator=torch.Generator().manual_seed(1))
    trainer = made(replace(video, pixel_weights=weights), config, device)
    lifetimes = endless_lifetimes(trainer.scene.num_gaussians)
    lifetimes[::2, 0] = 0.6 * video.duration
    trainer.scene.gaussians.lifetimes = lifetimes.to(device)
    check_recorded(trainer)


@devices
def test_the_share_of_one_of_several_processes_is_recorded(
    video: MultiViewVideo, config: GenerateConfig, device: str
) -> None:
    parts = iter([0.5, 0.25, 0.5] * 10)  # replayed with another number than was recorded

    def shared(inputs: StepInputs) -> StepInputs:
        views = inputs.batch.views.flatten()
        return replace(inputs, all_views=torch.cat((views, views)), part=torch.tensor(next(parts), device=device))

    check_recorded(made(video, config, device), shared)


@devices
def test_lpips_is_recorded(video: MultiViewVideo, config: GenerateConfig, lpips: Lpips, device: str) -> None:
    losses = LossConfig(lpips=Term(0.5, "generated"))
    config = replace(config, training=replace(config.training, losses=losses))
    first = made(replace(video), config, device)
    trainer = Trainer(first.scene, first.video, first.renderer, config.training, 0, lpips=deepcopy(lpips))
    trainer.recordings = Recordings(trainer.functions, True, record_graphs if device == "cuda" else list)
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        check_recorded(trainer)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def test_steps_of_another_kind_or_shape_are_taken_eagerly(video: MultiViewVideo, config: GenerateConfig) -> None:
    trainer = made(video, config, "cpu")
    recordings, parameters = trainer.recordings, trainer.optimizer.trained()
    kind, inputs = inputs_of(trainer, trainer.config.static_steps + 50)
    batch = inputs.batch
    narrower = replace(inputs, batch=SampleBatch(batch.times[:1], batch.views[:1], batch.backgrounds[:1]))

    def is_recorded(kind: StepKind, inputs: StepInputs) -> bool:
        return isinstance(recordings.step(kind, inputs, parameters), RecordedStep)

    assert [is_recorded(kind, inputs) for _ in range(3)] == [False, True, True]
    assert [is_recorded(kind, each) for each in (narrower, narrower, inputs, inputs)] == [False, True, False, True]
    assert not is_recorded(kind._replace(is_static=True), inputs) and not is_recorded(kind, inputs)
    assert is_recorded(kind, inputs)
    recordings.forget()
    assert not is_recorded(kind, inputs) and is_recorded(kind, inputs)
    recordings.is_on = False
    assert not is_recorded(kind, inputs)


def test_what_replaces_tensors_ends_a_recording(video: MultiViewVideo, config: GenerateConfig) -> None:
    trainer = made(video, with_field(config, root_rotation="on"), "cpu")
    kind, inputs = inputs_of(trainer, trainer.config.static_steps + 50)

    def is_gone(event: Callable[[], object]) -> bool:
        for _ in range(2):
            trainer.recordings.step(kind, inputs, trainer.optimizer.trained())
        assert trainer.recordings.has_recorded
        event()
        return not trainer.recordings.has_recorded

    raw = trainer.scene.canonical()
    everyone = torch.arange(trainer.scene.num_gaussians)
    same = Resampling(everyone, torch.zeros_like(everyone, dtype=torch.bool), raw.means, raw.log_scales)
    assert is_gone(lambda: trainer._resample(same))
    state = deepcopy(trainer.state_dict())
    assert is_gone(lambda: trainer.load_state_dict(state))
    assert is_gone(trainer._drop_root)
    step = trainer.recordings.step(kind, inputs, trainer.optimizer.trained())
    more = [*trainer.optimizer.trained()[:-1], torch.nn.Parameter(torch.zeros(1))]
    assert step is not trainer.recordings.step(kind, inputs, more), "other parameters"


def test_steps_that_add_to_the_loss_are_not_recorded(video: MultiViewVideo, config: GenerateConfig) -> None:
    trainer = made(video, config, "cpu")
    for at in (0, 1):
        kind, inputs = inputs_of(trainer, at)
        step = trainer.recordings.step(kind, inputs, trainer.optimizer.trained())
    rendering = trainer.renderer.render(step.gaussians, step.cameras, backgrounds=inputs.batch.backgrounds)
    total, _ = step.losses(rendering)
    with pytest.raises(ValueError, match="total"):
        step.backward(total + 1)


def test_steps_are_recorded_on_a_gpu_alone(video: MultiViewVideo, config: GenerateConfig) -> None:
    assert not prepare(video, config, torch.device("cpu")).recordings.is_on


@pytest.mark.gpu
def test_readback_gives_the_values_at_the_time_of_the_request() -> None:
    values = torch.tensor([1.0, 2.0], device="cuda")
    readback = Readback(values)
    values.add_(5)
    assert readback.wait() == [1.0, 2.0]


def test_what_a_fit_found_is_passed_over_while_it_runs_and_collected_after_it() -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    gc.unfreeze()
    found = Ring()
    known = weakref.ref(found)
    with quick_collections(torch.device("cuda")):
        made = weakref.ref(Ring())
        del found
        gc.collect()
        assert made() is None and known() is not None
    gc.collect()
    assert known() is None and gc.get_freeze_count() == 0
    with quick_collections(torch.device("cpu")):
        assert gc.get_freeze_count() == 0


def test_readback_on_the_cpu() -> None:
    assert Readback(torch.tensor([1.5, -2.0])).wait() == [1.5, -2.0]
