"""What moves the Gaussians: where features are read, what reaches the heads, and what learns."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import RULES, FusionConfig
from ds4d.geometry import frame_times, orbit_cameras, project_points
from ds4d.scene import FrameFeatureCache, Motion
from ds4d.types import Cameras, RawGaussians

BOX = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
FIELD = FieldConfig(hexplane=HexPlaneConfig(channels=4, resolution=6, multipliers=(1,)), width=64)
T, D, WIDTH, HEIGHT = 4, 6, 40, 32
TIMES = torch.tensor([0.0, 0.5, 1.0])

every_rule = pytest.mark.parametrize("rule", RULES)


def clip(cameras: Cameras, seed: int = 1) -> FrameFeatureCache:
    """Noise with all that any rule asks for; what the depth images show lies round the origin."""
    generator = torch.Generator().manual_seed(seed)
    shape = (T, cameras.num_views)
    return FrameFeatureCache(
        maps=torch.randn(*shape, D, 8, 10, generator=generator),
        valid=torch.ones(shape),
        times=frame_times(T),
        cameras=cameras,
        distance_maps=torch.randn(*shape, 3, 8, 10, generator=generator),
        depths=1.8 + 0.4 * torch.rand(*shape, 1, 16, 20, generator=generator),
    )


def moving(rule: str, views: FrameFeatureCache, **fusion: object) -> Motion:
    """With features that have a say, planes that change over time, and heads that move, but not out of the images."""
    torch.manual_seed(2)
    config = FusionConfig(rule=rule, channels=5, **fusion)
    motion = Motion(FIELD, BOX, T, fusion=config, features=views)
    for parameter in (*motion.field.heads.parameters(), *motion.field.hexplane.temporal_planes()):
        torch.nn.init.normal_(parameter, std=0.1)
    torch.nn.init.normal_(motion.field.trunk[0].weight, std=0.3)  # ty: ignore[invalid-argument-type]
    return motion


def shifts(motion: Motion, means: Tensor, times: Tensor = TIMES) -> Tensor:
    assert motion.features is not None
    return motion.changes(means, times, motion.features.at(times))["means"]


def without_features(motion: Motion, means: Tensor) -> Tensor:
    """How the HexPlane alone, beside features of 0, moves the centers."""
    return motion.field.first_shift(motion.field.hexplane(means, TIMES))


@pytest.mark.parametrize("given", ["fusion", "features"])
def test_fusion_and_features_come_together(given: str, tiny_cameras: Cameras) -> None:
    parts = {"fusion": FusionConfig(), "features": clip(tiny_cameras)}
    with pytest.raises(ValueError, match="fusion and features"):
        Motion(FIELD, BOX, T, **{given: parts[given]})


def test_without_features_the_field_moves_alone(tiny_gaussians: RawGaussians) -> None:
    motion = Motion(FIELD, BOX, T)
    for parameter in motion.field.heads.parameters():
        torch.nn.init.normal_(parameter)
    torch.testing.assert_close(motion(tiny_gaussians, TIMES).means, motion.field(tiny_gaussians, TIMES).means)
    assert motion.folded() is motion


@every_rule
@pytest.mark.parametrize("points", ["canonical", "deformed"])
def test_untrained_it_changes_nothing(
    rule: str, points: str, tiny_gaussians: RawGaussians, tiny_cameras: Cameras
) -> None:
    fusion = FusionConfig(rule=rule, channels=5, points=points)
    moved = Motion(FIELD, BOX, T, fusion=fusion, features=clip(tiny_cameras))(tiny_gaussians, TIMES)
    for name in ("means", "quats", "log_scales", "opacity_logits"):
        assert torch.equal(getattr(moved, name), getattr(tiny_gaussians, name).expand_as(getattr(moved, name))), name


@every_rule
def test_the_trunk_sees_hexplane_and_fused_features_side_by_side(
    rule: str, tiny_gaussians: RawGaussians, tiny_cameras: Cameras
) -> None:
    """Paper: Linear([hexplane(i), a(i)])."""
    motion, means = moving(rule, clip(tiny_cameras)), tiny_gaussians.means
    assert motion.features is not None
    planes = motion.field.hexplane(means, TIMES)
    fused = motion.point_features(means, planes, TIMES, motion.features.at(TIMES))
    assert fused is not None and fused.shape == (3, 12, 5)
    expected = motion.field.heads["means"](motion.field.trunk(torch.cat((planes, fused), dim=-1)))
    torch.testing.assert_close(shifts(motion, means), expected)
    assert (expected - without_features(motion, means)).abs().max() > 1e-2


def coordinates(cameras: Cameras) -> Tensor:
    """Maps whose first two channels are the pixel position."""
    y, x = (torch.arange(HEIGHT) + 0.5), (torch.arange(WIDTH) + 0.5)
    grid = torch.stack((x.expand(HEIGHT, -1), y[:, None].expand(-1, WIDTH)))
    return grid.expand(T, cameras.num_views, 2, HEIGHT, WIDTH)


@pytest.mark.parametrize("points", ["canonical", "deformed"])
def test_features_are_read_where_the_chosen_centers_project(points: str, tiny_cameras: Cameras) -> None:
    """Every center moves by (0.1, 0.05, 0); the first pass knows it."""
    views = FrameFeatureCache(coordinates(tiny_cameras), torch.ones(T, 3), frame_times(T), tiny_cameras)
    motion = Motion(FIELD, BOX, T, fusion=FusionConfig(rule="input", channels=2, points=points), features=views)  # ty: ignore[invalid-argument-type]
    assert motion.tssf is not None and motion.tssf.reduce is not None
    with torch.no_grad():
        motion.tssf.reduce.weight.copy_(torch.eye(2))
        motion.field.heads["means"][-1].bias.copy_(torch.tensor([0.1, 0.05, 0.0]))
    means = 0.4 * torch.rand(30, 3) - 0.2
    read = motion.point_features(means, motion.field.hexplane(means, TIMES), TIMES, views.at(TIMES))
    shift = torch.tensor([0.1, 0.05, 0.0]) if points == "deformed" else torch.zeros(3)
    pixels, _ = project_points(means + shift, tiny_cameras)
    assert read is not None
    torch.testing.assert_close(read, pixels[0].expand(3, -1, -1), atol=1e-3, rtol=0)


@every_rule
def test_one_view_will_do(rule: str, tiny_gaussians: RawGaussians) -> None:
    camera = orbit_cameras([0.0], [0.0], fovy_deg=40.0, distance=2.0, width=WIDTH, height=HEIGHT)
    motion, means = moving(rule, clip(camera)), tiny_gaussians.means.clone().requires_grad_()
    moved = shifts(motion, means)
    moved.square().sum().backward()
    assert moved.isfinite().all() and means.grad is not None and means.grad.isfinite().all()
    assert (moved - without_features(motion, means)).abs().max() > 1e-2
    assert motion.tssf is not None and motion.tssf.reduce is not None
    gradient = motion.tssf.reduce.weight.grad
    assert gradient is not None and gradient.abs().max() > 0


@every_rule
def test_outside_every_view_the_hexplane_is_alone(rule: str, tiny_cameras: Cameras) -> None:
    motion, far = moving(rule, clip(tiny_cameras)), torch.tensor([[30.0, 0.0, 0.0], [0.0, -40.0, 9.0]])
    far.requires_grad_()
    moved = shifts(motion, far)
    torch.testing.assert_close(moved, without_features(motion, far))
    moved.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in motion.parameters())


def test_a_point_hidden_in_the_front_view_does_not_read_it(tiny_cameras: Cameras) -> None:
    """The paper's rules do not ask what hides a point; `visible` does."""
    point = torch.tensor([[0.05, 0.0, -0.2]])
    views = clip(tiny_cameras)
    assert views.depths is not None
    views.depths[:] = 3.0
    views.depths[:, 0] = 1.5  # something stands before the front camera
    other = clip(tiny_cameras)
    other.depths = views.depths
    other.maps = views.maps.clone()
    other.maps[:, 0] += 5
    hidden = moving("visible", views, points="canonical")
    torch.testing.assert_close(shifts(hidden, point), shifts(replaced(hidden, other), point))
    average = moving("average", views, points="canonical")
    assert (shifts(average, point) - shifts(replaced(average, other), point)).abs().max() > 1e-2


def replaced(motion: Motion, views: FrameFeatureCache) -> Motion:
    """The same weights on other features."""
    assert motion.tssf is not None
    other = Motion(FIELD, BOX, T, fusion=motion.tssf.config, features=views)
    other.load_state_dict({**motion.state_dict(), **{f"features.{k}": v for k, v in views.state_dict().items()}})
    return other


@every_rule
def test_the_order_of_the_generated_views_does_not_matter(
    rule: str, tiny_gaussians: RawGaussians, tiny_cameras: Cameras
) -> None:
    views, order = clip(tiny_cameras), torch.tensor([0, 2, 1])
    assert views.depths is not None and views.distance_maps is not None
    shuffled = FrameFeatureCache(
        views.maps[:, order],
        views.valid[:, order],
        views.times,
        tiny_cameras[order],
        views.distance_maps[:, order],
        views.depths[:, order],
    )
    motion = moving(rule, views)
    expected = shifts(motion, tiny_gaussians.means)
    torch.testing.assert_close(shifts(replaced(motion, shuffled), tiny_gaussians.means), expected)


@every_rule
def test_moving_and_learning_leave_the_depth_images_alone(
    rule: str, tiny_gaussians: RawGaussians, tiny_cameras: Cameras
) -> None:
    motion = moving(rule, clip(tiny_cameras))
    assert motion.features is not None
    before = {name: tensor.clone() for name, tensor in motion.features.named_buffers()}
    motion(tiny_gaussians, TIMES).means.sum().backward()
    motion.folded()(tiny_gaussians, TIMES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in motion.features.named_buffers())


@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_number_of_frames_will_do(count: int, tiny_gaussians: RawGaussians, tiny_cameras: Cameras) -> None:
    maps = torch.randn(count, 3, D, 8, 10)
    views = FrameFeatureCache(maps, torch.ones(count, 3), frame_times(count), tiny_cameras)
    motion = Motion(FIELD, BOX, count, fusion=FusionConfig(rule="average", channels=5), features=views)
    assert motion(tiny_gaussians, torch.tensor([0.0, 0.37, 1.0])).means.isfinite().all()


def test_a_gate_holds_what_is_still(tiny_gaussians: RawGaussians, tiny_cameras: Cameras) -> None:
    """Shares of 0 everywhere hold all changes to a part, shares of 1 let them pass; without shares nothing is held."""
    means = tiny_gaussians.means
    changes = {}
    for name, share in (("none", None), ("still", 0.0), ("dynamic", 1.0)):
        views = clip(tiny_cameras)
        views.shares = None if share is None else torch.full((T, 3, 1, 8, 10), share)
        motion = moving("average", views)
        gated = Motion(
            replace(FIELD, dynamic_gate=share is not None), BOX, T, fusion=motion.tssf.config, features=views
        )  # ty: ignore[possibly-missing-attribute]
        gated.load_state_dict(motion.state_dict(), strict=False)
        changes[name] = gated.changes(means, TIMES, views.at(TIMES))
        if share is not None:
            sum(change.square().sum() for change in changes[name].values()).backward()
            assert all(p.grad is not None and p.grad != 0 for p in gated.field.gate.parameters())
    for name, change in changes["none"].items():
        torch.testing.assert_close(changes["dynamic"][name], change, rtol=1e-3, atol=1e-6)
        held = changes["still"][name].norm() / change.norm()
        assert 0.05 < held < 0.25, name


def test_a_gate_needs_features() -> None:
    with pytest.raises(ValueError, match="dynamic_gate"):
        GenerateConfig(field=replace(FIELD, dynamic_gate=True), fusion=None)
    assert Motion(replace(FIELD, dynamic_gate=True), BOX, T).field.gate is None  # as for a camera that moves
    assert not any("gate" in name for name in Motion(FIELD, BOX, T).state_dict())
