"""A window that starts where its neighbor has ended."""

from dataclasses import replace

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.init import normalize_scene
from ds4d.losses import ViewCorrectionConfig
from ds4d.pipeline import prepare
from ds4d.pipeline.setup import make_trainer
from ds4d.training import Trainer, canonical_gaussians, continue_from
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(quick_config: GenerateConfig) -> GenerateConfig:
    overrides = {"init.num_gaussians": 200, "init.hull.resolution": 16, "training.static_steps": 0,
                 "training.dynamic_steps": 4, "training.neighbors": 2}  # fmt: skip
    quick = with_overrides(quick_config, overrides)
    return replace(quick, training=replace(quick.training, view_correction=ViewCorrectionConfig(knots=3)))


@pytest.fixture
def neighbor(quick_video: MultiViewVideo, config: GenerateConfig) -> Trainer:
    """A trainer of the first four frames, whose motion and view correction are random."""
    weights = torch.tensor([1.0, *[0.5] * (quick_video.num_views - 1)])
    trainer = prepare(replace(quick_video, view_weights=weights).part(range(4)), config, CPU)
    generator = torch.Generator().manual_seed(0)
    motion, correction = trainer.scene.motion, trainer.view_correction
    assert motion is not None and correction is not None
    with torch.no_grad():
        for parameter in (*motion.parameters(), *correction.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return trainer


def continued(neighbor: Trainer, video: MultiViewVideo, config: GenerateConfig) -> Trainer:
    """A trainer of the frames 2 to 5."""
    weighted = replace(video, view_weights=neighbor.video.view_weights)
    normalization = normalize_scene(weighted, config.init.hull)
    state = neighbor.state_dict()
    part = replace(normalization, video=normalization.video.part(range(2, 6)))
    trainer = make_trainer(part, canonical_gaussians(state), config, CPU, known_frame=1)
    continue_from(trainer, state, (2 / 3, 5 / 3))
    return trainer


def test_shared_frames_show_what_the_neighbor_shows_and_later_ones_its_last(
    neighbor: Trainer, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    trainer = continued(neighbor, quick_video, config)
    field, other = trainer.scene.field, neighbor.scene.field
    assert field is not None and other is not None
    ours = field.changes(trainer.scene.canonical().means, torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]))
    theirs = other.changes(neighbor.scene.canonical().means, torch.tensor([2 / 3, 1.0, 1.0, 1.0]))
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, rtol=1e-4, atol=1e-5)  # times are rounded


def test_the_view_correction_goes_on(neighbor: Trainer, quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    ours, theirs = continued(neighbor, quick_video, config).view_correction, neighbor.view_correction
    assert ours is not None and theirs is not None
    at_knots = torch.tensor([0.0, 0.5, 1.0])
    of_neighbor = theirs.at_times((2 / 3 + at_knots).clamp_max(1))
    torch.testing.assert_close(ours.at_times(at_knots), of_neighbor, rtol=1e-5, atol=1e-5)


def test_training_leaves_the_canonical_gaussians_as_they_are(
    neighbor: Trainer, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    """And the motion not, also after its state was loaded again."""
    trainer = continued(neighbor, quick_video, config)
    before = {name: value.clone() for name, value in trainer.scene.state_dict().items()}
    other = continued(neighbor, quick_video, config)
    other.load_state_dict(trainer.state_dict())
    for each in (trainer, other):
        assert len(list(each.run())) == config.training.dynamic_steps
        changed = {name for name, value in each.scene.state_dict().items() if not torch.equal(value, before[name])}
        assert not any(name.startswith("gaussians.") for name in changed)
        assert any("hexplane" in name for name in changed)
    assert all(torch.equal(a, b) for a, b in zip(trainer.scene.parameters(), other.scene.parameters(), strict=True))


def test_a_gaussian_far_away_stays(neighbor: Trainer, quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    """All windows have the same Gaussians, one by one."""
    trainer = continued(neighbor, quick_video, config)
    before = trainer.scene.gaussians.num_gaussians
    with torch.no_grad():
        trainer.scene.gaussians.means[0] = 2.0
    list(trainer.run())
    assert trainer.scene.gaussians.num_gaussians == before


def test_times_spread_from_the_known_frame(
    neighbor: Trainer, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    trainer = continued(neighbor, quick_video, config)
    batch = trainer.schedule.sample(0, trainer.sampler)
    assert set(batch.times.tolist()) <= {0, 1, 2}, "one frame on each side of frame 1"
