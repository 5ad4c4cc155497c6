"""Training as a stream of events: stages, densification, interruption, divergence."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.data.synthetic import SampleConfig, sample_video
from ds4d.fusion import FusionConfig
from ds4d.losses import LossConfig
from ds4d.pipeline import prepare
from ds4d.training import GaussiansChanged, StepDone, Trainer, TrainingConfig, TrainingDiverged
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture
def short(quick_config: GenerateConfig) -> GenerateConfig:
    """Four static and eight dynamic steps; densification after the fourth and the eighth step."""
    density = replace(quick_config.training.densification, every=4, start=0.0)
    return replace(
        quick_config, training=replace(quick_config.training, static_steps=4, dynamic_steps=8, densification=density)
    )


def test_events(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    events = list(prepare(quick_video, short, CPU).run())
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [step.step for step in steps] == list(range(1, 13))
    assert [step.stage for step in steps] == ["static"] * 4 + ["dynamic"] * 8
    assert {step.total_steps for step in steps} == {12}
    assert all(later.seconds > earlier.seconds for earlier, later in pairwise(steps))
    changes = [event for event in events if isinstance(event, GaussiansChanged)]
    assert [change.step for change in changes] == [4, 8]
    assert changes[0].before == 800 < changes[0].after == changes[1].before
    assert steps[-1].num_gaussians == changes[1].after


def test_outliers_are_pruned_after_the_last_step(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    trainer = prepare(quick_video, short, CPU)
    events = trainer.run()
    while trainer.step < short.training.total_steps:
        next(events)
    with torch.no_grad():
        trainer.scene.gaussians.means[5] = 2.0
    before = trainer.scene.gaussians.num_gaussians
    *_, last = events
    assert last == GaussiansChanged(12, before, before - 1)
    assert trainer.scene.max_distances().max() < 0.75 and trainer.scene.gaussians.num_gaussians == before - 1
    assert not list(trainer.run())


@pytest.fixture
def generated_video(quick_video: MultiViewVideo) -> MultiViewVideo:
    """A video whose views besides the input view count half, as generated views do."""
    weights = torch.full((quick_video.num_views,), 0.5)
    weights[0] = 1
    return replace(quick_video, view_weights=weights)


def assert_terms_sum_up_to_the_loss(event: StepDone, losses: LossConfig) -> None:
    weights = {name: getattr(getattr(losses, name), "weight", getattr(losses, name)) for name in event.terms}
    total = sum(weights[name] * value for name, value in event.terms.items())
    assert event.loss == pytest.approx(total, rel=1e-5)


def test_terms_are_named_and_sum_up_to_the_loss(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    static, *_, dynamic = (event for event in prepare(quick_video, short, CPU).run() if isinstance(event, StepDone))
    assert set(static.terms) == {"l1", "ssim", "mask"}
    assert set(dynamic.terms) == {*static.terms, "plane_smoothness", "time_smoothness", "time_l1"}
    assert_terms_sum_up_to_the_loss(dynamic, short.training.losses)


def test_terms_of_generated_views_sum_up_to_the_loss(generated_video: MultiViewVideo, short: GenerateConfig) -> None:
    losses = LossConfig(rigidity=0.5, view_warps=20.0, view_gains=3.0)
    config = replace(short, training=replace(short.training, losses=losses), fusion=FusionConfig(rule="visible"))
    trainer = prepare(generated_video, config, CPU)
    static, *_, dynamic = (event for event in trainer.run() if isinstance(event, StepDone))
    assert {"view_warps", "view_gains"} <= set(static.terms) and "rigidity" not in static.terms
    assert {"view_warps", "view_gains", "rigidity"} <= set(dynamic.terms)
    assert dynamic.terms["view_warps"] > 0 and dynamic.terms["view_gains"] > 0
    assert_terms_sum_up_to_the_loss(dynamic, losses)


def test_static_stage_does_not_train_the_field(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    trainer = prepare(quick_video, short, CPU)
    assert trainer.scene.field is not None
    before = {name: value.clone() for name, value in trainer.scene.field.state_dict().items()}
    steps = iter(trainer.run())
    while trainer.step < short.training.static_steps:
        next(steps)
    assert all(torch.equal(value, before[name]) for name, value in trainer.scene.field.state_dict().items())
    list(steps)
    changed = {name for name, value in trainer.scene.field.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(before) - {"hexplane.aabb"}


def test_training_reduces_the_loss(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    config = replace(
        quick_config,
        training=replace(quick_config.training, static_steps=30, dynamic_steps=0, low_resolution_fraction=0.0),
    )
    losses = [event.loss for event in prepare(quick_video, config, CPU).run() if isinstance(event, StepDone)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_training_continues_after_any_event(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    trainer = prepare(quick_video, short, CPU)
    whole = prepare(quick_video, short, CPU)
    while trainer.step < short.training.total_steps:
        next(trainer.run())  # one event, then the iterator is dropped
    list(whole.run())
    assert_same_scene(trainer, whole)


def test_low_resolution_comes_first(quick_video: MultiViewVideo, short: GenerateConfig) -> None:
    trainer = prepare(
        quick_video, replace(short, fusion=None, training=replace(short.training, low_resolution_fraction=0.5)), CPU
    )
    sizes = []

    class Watching:
        def render(self, gaussians, cameras, *, backgrounds=None):
            sizes.append((cameras.width, cameras.height))
            return renderer.render(gaussians, cameras, backgrounds=backgrounds)

    renderer, trainer.renderer = trainer.renderer, Watching()
    list(trainer.run())
    assert sizes == [(24, 24)] * 2 + [(48, 48)] * 2 + [(24, 24)] * 4 + [(48, 48)] * 4


def test_odd_image_sizes_are_halved_downwards(short: GenerateConfig) -> None:
    """Both sizes are trained at, with feature maps whose cells do not divide the images."""
    video = sample_video(SampleConfig(frames=3, size=47, supersampling=1))
    config = replace(short, training=replace(short.training, low_resolution_fraction=0.5))
    trainer = prepare(video, config, CPU)
    sizes = {trainer.schedule.image_size(step) for step in range(short.training.total_steps)}
    assert sizes == {(23, 23), (47, 47)}
    losses = [event.loss for event in trainer.run() if isinstance(event, StepDone)]
    assert len(losses) == short.training.total_steps and all(map(math.isfinite, losses))


def test_temporal_curriculum(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> None:
    fit = TrainingConfig(static_steps=0, dynamic_steps=100, times_per_step=6, views_per_time=1, temporal_curriculum=0.5)
    trainer = prepare(quick_video, replace(quick_config, training=fit), CPU)
    spread = {}
    for trainer.step in (0, 10, 50, 99):
        spread[trainer.step] = sorted(trainer.schedule.sample(trainer.step, trainer.sampler).times.tolist())
    everything = [0, 1, 2, 3, 4, 5]
    assert spread == {0: [2, 3, 4], 10: [1, 2, 3, 4, 5], 50: everything, 99: everything}


@pytest.mark.parametrize(("term", "pixel"), [("l1", float("nan")), ("mask", float("inf"))])
def test_nan_and_inf_stop_training(quick_video: MultiViewVideo, short: GenerateConfig, term: str, pixel: float) -> None:
    weights = torch.ones(quick_video.num_times, quick_video.num_views, 1, 1, 1)
    weights[quick_video.middle, 3] = pixel
    trainer = prepare(replace(quick_video, pixel_weights=weights), short, CPU)
    with pytest.raises(TrainingDiverged, match=rf"{term}.* step 1\b") as caught:
        list(trainer.run())
    assert caught.value.step == 1
    assert term in caught.value.terms


def assert_same_scene(ours: Trainer, theirs: Trainer) -> None:
    state = theirs.scene.state_dict()
    for name, tensor in ours.scene.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_static_stage_of_a_moving_camera_samples_all_times(
    quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    """With one view per time, the middle frame alone does not show the shape."""
    count = quick_video.num_times
    one_each = torch.zeros(count, quick_video.num_views, dtype=torch.bool)
    one_each[torch.arange(count), torch.arange(count) % quick_video.num_views] = True
    swept = replace(quick_video, valid=one_each)
    assert swept.is_monocular_sweep and not quick_video.is_monocular_sweep
    trainer = prepare(swept, quick_config, CPU)
    seen = {time for _ in range(20) for time in trainer.schedule.sample(trainer.step, trainer.sampler).times.tolist()}
    assert trainer.is_static_stage
    assert seen == set(range(count))
    assert next(iter(trainer.run())).step == 1
