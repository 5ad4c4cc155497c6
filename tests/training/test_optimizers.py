"""Adam's moments follow the Gaussians through densification and checkpoints."""

from dataclasses import fields

import pytest
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.scene import DynamicGaussians, FrameFeatureCache, Motion, Resampling, Timeline
from ds4d.training.optimizers import LearningRate, OptimizerConfig, SceneOptimizer
from ds4d.types import Cameras, RawGaussians, Similarity

BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
SMALL_FIELD = FieldConfig(hexplane=HexPlaneConfig(channels=2, resolution=4, multipliers=(1,)), width=8)


def scene_of(gaussians: RawGaussians, field: FieldConfig | None = SMALL_FIELD) -> DynamicGaussians:
    motion = Motion(field, BOX, 3) if field is not None else None
    return DynamicGaussians(gaussians, motion, Timeline((0.0, 0.5, 1.0), 1.0, False), Similarity.identity())


def take_step(optimizer: SceneOptimizer, seed: int, *, rows: torch.Tensor | None = None) -> None:
    """One step with seeded gradients; those of the Gaussians are `rows` of twelve."""
    set_gradients(optimizer.scene, seed, rows=rows)
    optimizer.step(0.5)


def set_gradients(scene: DynamicGaussians, seed: int, *, rows: torch.Tensor | None = None) -> None:
    generator = torch.Generator().manual_seed(seed)
    gaussians = {id(parameter) for parameter in scene.gaussians.parameters()}
    for parameter in scene.parameters():
        if id(parameter) in gaussians:
            gradient = torch.randn(12, *parameter.shape[1:], generator=generator)
            parameter.grad = gradient if rows is None else gradient[rows]
        else:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_learning_rates_decay_exponentially() -> None:
    rate = LearningRate(1e-2, 0.01)
    assert [rate.at(progress) for progress in (-1.0, 0.0, 0.5, 1.0, 2.0)] == pytest.approx(
        [1e-2, 1e-2, 1e-3, 1e-4, 1e-4]
    )
    assert LearningRate(3.0).at(0.7) == 3.0


def test_each_parameter_has_one_learning_rate(tiny_gaussians: RawGaussians) -> None:
    scene = scene_of(tiny_gaussians)
    groups = SceneOptimizer(scene, OptimizerConfig()).groups
    held = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(held) == sorted(id(parameter) for parameter in scene.parameters())
    without = {"fusion", "root", "view_correction"}  # absent here
    assert set(groups) == {field.name for field in fields(OptimizerConfig)} - without


def test_fusion_has_its_own_learning_rate(tiny_gaussians: RawGaussians, tiny_cameras: Cameras) -> None:
    scene = scene_of(tiny_gaussians)
    maps, times = torch.zeros(3, 3, 6, 4, 4).half(), torch.linspace(0, 1, 3)
    features = FrameFeatureCache(maps, torch.ones(3, 3), times, tiny_cameras)
    scene.motion = Motion(SMALL_FIELD, BOX, 3, fusion=FusionConfig(rule="distance", channels=4), features=features)
    groups = SceneOptimizer(scene, OptimizerConfig()).groups
    assert scene.motion.tssf is not None
    assert [id(p) for p in groups["fusion"]] == [id(p) for p in scene.motion.tssf.parameters()]


def test_first_step_has_the_length_of_the_learning_rate(tiny_gaussians: RawGaussians) -> None:
    """Adam's first step does not depend on the size of the gradient."""
    scene = scene_of(tiny_gaussians)
    before = {name: parameter.detach().clone() for name, parameter in scene.named_parameters()}
    config = OptimizerConfig()
    optimizer = SceneOptimizer(scene, config)
    take_step(optimizer, 0)
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh0", "shN"):
        moved = (getattr(scene.gaussians, name) - before[f"gaussians.{name}"]).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, getattr(config, name).at(0.5)), rtol=1e-2, atol=1e-6)
    assert all(parameter.grad is None for parameter in scene.parameters())


def test_steps_are_those_of_torchs_adam(tiny_gaussians: RawGaussians) -> None:
    ours, theirs = scene_of(tiny_gaussians), scene_of(tiny_gaussians)
    theirs.load_state_dict(ours.state_dict())
    config = OptimizerConfig()
    optimizer = SceneOptimizer(ours, config)
    groups = [
        {"params": group, "lr": getattr(config, name).at(0.5)}
        for name, group in SceneOptimizer(theirs, config).groups.items()
    ]
    adam = torch.optim.Adam(groups, eps=1e-15, fused=True)
    for seed in range(3):
        take_step(optimizer, seed)
        set_gradients(theirs, seed)
        adam.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name


def test_kept_gaussians_keep_their_moments(tiny_gaussians: RawGaussians) -> None:
    """After rows were dropped, reordered and added, each old Gaussian steps as in an unchanged scene."""
    untouched, changed = (SceneOptimizer(scene_of(tiny_gaussians), OptimizerConfig()) for _ in range(2))
    for seed in range(3):
        take_step(untouched, seed)
        take_step(changed, seed)
    sources = torch.tensor([7, 2, 11, 4, 2])
    is_new = torch.tensor([False, False, False, False, True])
    raw = changed.scene.canonical()
    changed.resample(Resampling(sources, is_new, raw.means[sources].detach(), raw.log_scales[sources].detach()))
    for seed in range(3, 6):
        take_step(untouched, seed)
        take_step(changed, seed, rows=sources)
    for name, parameter in changed.scene.gaussians.named_parameters():
        twins = getattr(untouched.scene.gaussians, name)[sources]
        assert torch.equal(parameter[:4], twins[:4]), name
        assert not torch.equal(parameter[4], twins[4]), f"{name}: a new Gaussian starts with zero moments"


def test_new_gaussians_start_without_moments(tiny_gaussians: RawGaussians) -> None:
    optimizer = SceneOptimizer(scene_of(tiny_gaussians), OptimizerConfig())
    take_step(optimizer, 0)
    sources, is_new = torch.tensor([0, 1, 1]), torch.tensor([False, False, True])
    optimizer.resample(Resampling(sources, is_new, torch.zeros(3, 3), torch.zeros(3, 3)))
    moments = {name: value for name, value in optimizer.state_dict().items() if name.startswith("means.")}
    for name in ("means.0.exp_avg", "means.0.exp_avg_sq"):
        assert moments[name].shape == (3, 3)
        assert (moments[name][:2] != 0).all() and (moments[name][2] == 0).all()


def test_field_moments_stay_when_gaussians_change(tiny_gaussians: RawGaussians) -> None:
    optimizer = SceneOptimizer(scene_of(tiny_gaussians), OptimizerConfig())
    take_step(optimizer, 0)
    before = {
        name: value.clone() for name, value in optimizer.state_dict().items() if name.startswith(("planes", "mlp"))
    }
    optimizer.resample(Resampling(torch.arange(5), torch.zeros(5) > 0, torch.zeros(5, 3), torch.zeros(5, 3)))
    after = optimizer.state_dict()
    assert before and all(torch.equal(after[name], value) for name, value in before.items())


def test_resampling_before_the_first_step(tiny_gaussians: RawGaussians) -> None:
    optimizer = SceneOptimizer(scene_of(tiny_gaussians), OptimizerConfig())
    optimizer.resample(Resampling(torch.arange(5), torch.zeros(5) > 0, torch.zeros(5, 3), torch.zeros(5, 3)))
    take_step(optimizer, 0, rows=torch.arange(5))
    assert optimizer.scene.gaussians.means.abs().min() > 0


@pytest.mark.parametrize("field", [SMALL_FIELD, None], ids=["dynamic", "static"])
def test_load_state_dict_gives_the_same_next_step(tiny_gaussians: RawGaussians, field: FieldConfig | None) -> None:
    original = SceneOptimizer(scene_of(tiny_gaussians, field), OptimizerConfig())
    for seed in range(3):
        take_step(original, seed)
    copy = SceneOptimizer(scene_of(tiny_gaussians, field), OptimizerConfig())
    copy.scene.load_state_dict(original.scene.state_dict())
    copy.load_state_dict(original.state_dict())
    take_step(original, 3)
    take_step(copy, 3)
    for (name, ours), theirs in zip(copy.scene.named_parameters(), original.scene.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_fixed_gaussians_are_left_as_they_are(tiny_gaussians: RawGaussians) -> None:
    scene = scene_of(tiny_gaussians)
    optimizer = SceneOptimizer(scene, OptimizerConfig(), num_fixed=5)
    for seed in range(3):
        take_step(optimizer, seed)
    for name in RawGaussians.__dataclass_fields__:
        ours, before = getattr(scene.canonical(), name), getattr(tiny_gaussians, name)
        assert torch.equal(ours[:5], before[:5]) and not torch.equal(ours[5:], before[5:])
