"""A clip's features, decoupled and ready to be fused: what is refused, and what there is between the frames."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.decoupling import DecouplingConfig, decouple, reference_basis
from ds4d.fusion import RULES, FusionConfig, Tssf
from ds4d.geometry import frame_times
from ds4d.scene import (
    FrameFeatureCache,
    cache_features,
    cache_video_features,
    dynamic_shares,
    with_dynamic_weights,
)
from ds4d.scene.frame_features import _decoupled_maps
from ds4d.types import Cameras, FrameFeatures, MultiViewVideo

T, V, C = 6, 7, 5  # of the quick video
FRONT = FusionConfig(rule="input", channels=4)
VISIBLE = FusionConfig(rule="visible", channels=4, depth_size=12)


@pytest.fixture
def features(generator: torch.Generator) -> FrameFeatures:
    maps = 1 + 0.3 * torch.randn(T, V, C, 4, 6, generator=generator)
    return FrameFeatures(maps.half(), torch.ones(T, V, dtype=torch.bool))


def observed(
    features: FrameFeatures, cameras: Cameras, fusion: FusionConfig = FRONT, **decoupling
) -> FrameFeatureCache:
    return cache_features(features, frame_times(len(features.maps)), cameras, DecouplingConfig(**decoupling), fusion)


def of_three(features: FrameFeatures, **changes: Tensor) -> FrameFeatures:
    """Features of as many views as the tiny cameras."""
    return FrameFeatures(changes.get("maps", features.maps[:, :3]), changes.get("valid", features.valid[:, :3]))


@pytest.mark.parametrize(
    ("some", "message"),
    [
        ((slice(T - 1), slice(V)), "6 frames and 7 views, got 5 frames and 7 views"),
        ((slice(T), slice(V - 1)), "6 frames and 7 views, got 6 frames and 6 views"),
    ],
)
def test_features_of_another_clip_are_refused_with_both_sizes(
    quick_video: MultiViewVideo, features: FrameFeatures, some: tuple[slice, slice], message: str
) -> None:
    other = FrameFeatures(features.maps[some], features.valid[some])
    with pytest.raises(ValueError, match=message):
        cache_video_features(quick_video, other, DecouplingConfig(), FRONT)


def test_a_camera_that_moves_is_refused(quick_video: MultiViewVideo, features: FrameFeatures) -> None:
    viewmats = quick_video.cameras.viewmats.clone()
    viewmats[2, 1, 0, 3] += 0.1
    moving = replace(quick_video, cameras=replace(quick_video.cameras, viewmats=viewmats))
    with pytest.raises(ValueError, match="camera of each view"):
        cache_video_features(moving, features, DecouplingConfig(), FRONT)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused_by_their_place(
    quick_video: MultiViewVideo, features: FrameFeatures, value: float
) -> None:
    features.maps[4, 2, 1, 0, 0] = value
    with pytest.raises(ValueError, match=r"features of frame 4, view 2, must be finite, got NaN or infinity"):
        cache_video_features(quick_video, features, DecouplingConfig(), FRONT)


def test_a_clip_is_observed_by_its_cameras(quick_video: MultiViewVideo, features: FrameFeatures) -> None:
    views = cache_video_features(quick_video, features, DecouplingConfig(), VISIBLE)
    assert torch.equal(views.times, quick_video.times)
    assert torch.equal(views.cameras.viewmats, quick_video.cameras.viewmats[0])
    assert (views.width, views.height) == (quick_video.frames.width, quick_video.frames.height)


@pytest.mark.parametrize("reference", ["middle+mean", "plane"])
def test_maps_are_frame_features_and_their_dynamic_part_at_one_scale(
    features: FrameFeatures, tiny_cameras: Cameras, reference: str
) -> None:
    features = of_three(features)
    views = observed(features, tiny_cameras, reference=reference)
    assert views.maps.shape == (T, 3, 2 * C, 4, 6) and views.maps.dtype == torch.half
    single = features.maps.float()
    expected = decouple(single, reference_basis(single, reference)).decoupled
    cells = expected.movedim(2, -1).flatten(0, -2)
    scaled = (expected - cells.mean(0)[:, None, None]) / cells.std(0, correction=0)[:, None, None]
    torch.testing.assert_close(views.maps.float(), scaled, atol=0.02, rtol=0.01)


def test_without_decoupling_frame_features_are_used_as_they_are(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    alone = observed(of_three(features), tiny_cameras, enabled=False)
    both = observed(of_three(features), tiny_cameras)
    assert alone.maps.shape[2] == C
    torch.testing.assert_close(alone.maps, both.maps[:, :, :C], atol=0.01, rtol=0.01)


def test_a_channel_that_hardly_changes_stays_finite(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    """Its deviation is so small that the factor has no place in half precision."""
    maps = features.maps[:, :3].clone()
    maps[:, :, 2] = 0
    maps[0, 0, 2, 0, 0] = 6e-5
    views = observed(of_three(features, maps=maps), tiny_cameras, enabled=False)
    assert views.maps.isfinite().all()
    assert views.maps[:, :, 2].float().mean().abs() < 0.01 and views.maps[0, 0, 2, 0, 0] > 5


@pytest.mark.parametrize("rule", RULES)
def test_there_is_what_the_rule_needs_and_no_more(features: FrameFeatures, tiny_cameras: Cameras, rule: str) -> None:
    fusion = FusionConfig(rule=rule, distance_channels=3, depth_size=12)
    views = observed(of_three(features), tiny_cameras, fusion)
    extra = {"distance": ["distance_maps"], "visible": ["depths"]}.get(rule, [])
    assert list(views.observed) == ["maps", "valid", *extra]
    if views.distance_maps is not None:
        assert views.distance_maps.shape == (T, 3, 3, 4, 6)
    if views.depths is not None:
        assert views.depths.shape == (T, 3, 1, 12, 15)  # the cameras are 40 x 32
        assert not views.depths.any()


def test_only_what_a_fit_changes_is_its_state(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = observed(of_three(features), tiny_cameras, VISIBLE)
    assert set(views.state_dict()) == {"depths"}
    assert set(views.fixed()) == {"maps", "valid", "times", "viewmats", "Ks"}


def test_depths_and_warps_are_replaced(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = observed(of_three(features), tiny_cameras, VISIBLE)
    depths = torch.full((2, 3, 1, 12, 15), 1.5)
    views.update_depths(torch.tensor([4, 1]), depths)
    assert views.depths is not None and views.depths.dtype == torch.half
    assert (views.depths[[1, 4]] == 1.5).all() and not views.depths[[0, 2, 3, 5]].any()
    warps = torch.randn(T, 3, 2, 4, 4, requires_grad=True)
    views.update_warps(warps)
    assert views.warps is not None and torch.equal(views.warps, warps) and not views.warps.requires_grad
    assert set(views.state_dict()) == {"depths", "warps"}
    with pytest.raises(ValueError, match="visible"):
        observed(of_three(features), tiny_cameras, FRONT).update_depths(torch.tensor([4, 1]), depths)


def moving(features: FrameFeatures, cameras: Cameras) -> FrameFeatureCache:
    """With something of everything, at uneven times."""
    views = observed(of_three(features), cameras, VISIBLE)
    generator = torch.Generator().manual_seed(2)
    views.times = torch.tensor([0.0, 0.1, 0.3, 0.35, 0.8, 1.0])
    views.depths = 1 + torch.rand(T, 3, 1, 12, 15, generator=generator).half()
    views.warps = torch.randn(T, 3, 2, 3, 3, generator=generator)
    views.distance_maps = views.maps[:, :, :2].clone()
    return views


def test_at_the_frames_times_the_frames_own_are_read(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = moving(features, tiny_cameras)
    rows = torch.tensor([5, 0, 2, 3])
    frames, times = views.at_frames(rows), views.at(views.times[rows])
    for name, tensor in views.observed.items():
        own = getattr(frames, name)
        assert torch.equal(own, tensor[rows]) and torch.equal(own, getattr(times, name)), name
        assert own.dtype == tensor.dtype


def test_between_two_frames_they_are_blended(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = moving(features, tiny_cameras)
    between = views.at(torch.tensor([0.15]))
    for name, tensor in views.observed.items():
        expected = 0.75 * tensor[1] + 0.25 * tensor[2]
        torch.testing.assert_close(getattr(between, name)[0], expected, atol=2e-3, rtol=2e-3, msg=name)


def test_a_single_frame_is_there_at_every_time(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = observed(FrameFeatures(features.maps[:1, :3], features.valid[:1, :3]), tiny_cameras)
    for time in (0.0, 0.4, 1.0):
        assert torch.equal(views.at(torch.tensor([time])).maps, views.maps)


def test_half_way_between_a_surface_and_none_is_no_third_depth(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = moving(features, tiny_cameras)
    assert views.depths is not None
    views.depths[0], views.depths[1] = 2.0, 0.0
    views.depths[1, :, :, :6] = 3.0
    blended = views.at(torch.tensor([0.025, 0.075])).depths
    assert blended is not None
    early, late = blended
    assert (early[..., 6:, :] == 2).all() and (late[..., 6:, :] == 0).all()
    torch.testing.assert_close(early[..., :6, :].unique(), torch.tensor([2.25]).half())


def test_a_missing_image_lends_nothing_to_the_times_beside_it(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    valid = features.valid[:, :3].clone()
    valid[2, 1] = False
    views = observed(of_three(features, valid=valid), tiny_cameras)
    between = views.at(torch.tensor([0.3]))  # half-way between the frames 1 and 2
    assert torch.equal(between.maps[0, 1], views.maps[1, 1])
    torch.testing.assert_close(between.maps[0, 0], views.maps[1:3, 0].float().mean(0).half(), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(between.valid[0], torch.tensor([1.0, 0.5, 1.0]))


@pytest.mark.parametrize("rule", RULES)
def test_folded_maps_are_fused_to_the_same(
    features: FrameFeatures, tiny_cameras: Cameras, generator: torch.Generator, rule: str
) -> None:
    fusion = FusionConfig(rule=rule, channels=4)
    views, tssf = observed(of_three(features), tiny_cameras, fusion), Tssf(fusion, 2 * C)
    points = 0.6 * torch.rand(T, 20, 3, generator=generator) - 0.3
    folded = views.folded(tssf)
    assert folded.maps.shape == (T, 3, 4, 4, 6) and folded.observed.keys() == views.observed.keys()
    fused, again = (
        clip.fuse(module, points, clip.at(clip.times)) for module, clip in ((tssf, views), (tssf.folded(), folded))
    )
    torch.testing.assert_close(again, fused, atol=5e-3, rtol=5e-3)  # the folded maps are of half precision


def test_the_order_of_the_generated_views_does_not_matter(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    order = torch.tensor([0, 2, 1])
    other = tiny_cameras[order]
    first = observed(of_three(features), tiny_cameras)
    second = observed(of_three(features, maps=features.maps[:, order]), other)
    torch.testing.assert_close(second.maps, first.maps[:, order], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("reference", ["middle+mean", "plane"])
def test_images_decoupled_one_by_one_equal_all_at_once(features: FrameFeatures, reference: str) -> None:
    single = features.maps.float()
    expected = decouple(single, reference_basis(single, reference)).decoupled.half()
    assert torch.equal(_decoupled_maps(features.maps, DecouplingConfig(reference=reference)), expected)


def test_the_features_themselves_stay_as_they_are(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    """Channels are standardized in place, on a copy."""
    given = of_three(features)
    before = given.maps.clone()
    for enabled in (True, False):
        observed(given, tiny_cameras, enabled=enabled)
        assert torch.equal(given.maps, before)


@pytest.fixture
def half_still(features: FrameFeatures) -> FrameFeatures:
    """The left half of every map is the same in all frames; the last view has no image in the last frame."""
    maps, valid = features.maps.clone(), features.valid.clone()
    maps[..., :3] = maps[:1, ..., :3]
    valid[-1, -1] = False
    return FrameFeatures(maps, valid)


def test_what_is_still_has_no_dynamic_share(half_still: FrameFeatures) -> None:
    shares = dynamic_shares(half_still, DecouplingConfig())
    assert shares.shape == (T, V, 1, 4, 6)
    assert shares[..., :3].max() < 1e-2 and shares[:-1, :, :, :, 3:].mean() > 0.3
    assert shares.max() == 1 and not shares[-1, -1].any()
    assert torch.equal(dynamic_shares(half_still, DecouplingConfig(enabled=False)), shares)


def test_pixels_of_dynamic_cells_weigh_more(quick_video: MultiViewVideo, half_still: FrameFeatures) -> None:
    config = DecouplingConfig(loss_weight=4.0)
    weights = with_dynamic_weights(quick_video, half_still, config).pixel_weights
    assert weights is not None and weights.shape == (T, V, 1, 4, 6)
    torch.testing.assert_close(weights.mean((-2, -1)), torch.ones(T, V, 1))
    assert (weights[:-1, ..., 3:].mean((-2, -1)) > weights[:-1, ..., :3].mean((-2, -1)) * 1.5).all()
    torch.testing.assert_close(weights[-1, -1], torch.ones(1, 4, 6))  # nothing is known of it
    ratio = weights / weights[..., :1, :1]
    torch.testing.assert_close(ratio, 1 + 4 * dynamic_shares(half_still, config), atol=0.05, rtol=0.05)
    own = torch.rand(T, V, 1, 2, 3)
    joined = with_dynamic_weights(replace(quick_video, pixel_weights=own), half_still, config).pixel_weights
    assert joined is not None and not torch.equal(joined, weights) and (joined <= weights + 1e-6).all()


def test_points_have_the_share_of_the_views_that_see_them(features: FrameFeatures, tiny_cameras: Cameras) -> None:
    views = observed(of_three(features), tiny_cameras)
    views.shares = torch.tensor([0.2, 0.4, 0.9]).reshape(1, 3, 1, 1, 1).expand(T, 3, 1, 4, 6).contiguous()
    tssf = Tssf(FRONT, views.maps.shape[2])
    points = torch.zeros(1, 2, 3)
    points[0, 1, 1] = 50.0  # far above all images
    at = views.at_frames(torch.tensor([0]))
    torch.testing.assert_close(views.share(tssf, points, at).flatten(), torch.tensor([0.5, 1.0]), atol=5e-3, rtol=0)
    some = replace(at, valid=torch.tensor([[1.0, 1.0, 0.0]]))
    assert views.share(tssf, points, some)[0, 0].item() == pytest.approx(0.3, abs=5e-3)


@pytest.mark.parametrize("rule", RULES)
def test_a_learned_reference_fuses_as_its_start_until_it_is_trained(
    rule: str, features: FrameFeatures, tiny_cameras: Cameras
) -> None:
    fusion = FusionConfig(rule=rule, channels=4, depth_size=12)
    points = 0.4 * torch.rand(T, 5, 3) - 0.2
    at = torch.linspace(0.0, 1.0, T)
    fixed, learned = (
        observed(of_three(features), tiny_cameras, fusion, reference=name) for name in ("middle+mean", "learned")
    )
    assert fixed.num_channels == learned.num_channels == 2 * C and learned.maps.shape[2] == C
    tssf = Tssf(fusion, learned.num_channels)
    expected = fixed.fuse(tssf, points, fixed.at(at))
    begun = learned.fuse(tssf, points, learned.at(at))
    torch.testing.assert_close(begun, expected, atol=2e-2, rtol=0)
    begun.square().sum().backward()
    assert learned.reference is not None and learned.reference.direction.grad is not None
    assert learned.reference.direction.grad.abs().sum() > 0
    with torch.no_grad():
        learned.reference.direction += torch.randn(learned.reference.direction.shape)
        trained = learned.fuse(tssf, points, learned.at(at))
        folded = learned.folded(tssf)
        again = folded.fuse(tssf.folded(), points, folded.at(at))
    assert (trained - expected).abs().max() > 0.1
    torch.testing.assert_close(again, trained, atol=2e-2, rtol=0)
    assert folded.reference is None and "reference" not in " ".join(folded.state_dict())


def test_a_reference_of_frame_features_alone_has_nothing_to_learn(
    features: FrameFeatures, tiny_cameras: Cameras
) -> None:
    alone = observed(of_three(features), tiny_cameras, reference="learned", enabled=False)
    assert alone.reference is None and alone.num_channels == C
