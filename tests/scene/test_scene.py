"""A scene at any time, and in and out of files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import RULES, FusionConfig
from ds4d.scene import BakedGaussians, Clip, DynamicGaussians, FrameFeatureCache, Motion
from ds4d.types import Cameras, Gaussians, RawGaussians, Similarity

BOX = torch.tensor([[-0.5, -0.4, -0.3], [0.5, 0.4, 0.3]])
FIELD = FieldConfig(hexplane=HexPlaneConfig(channels=2, resolution=4, multipliers=(1, 3)), width=8, deform_color=True)
WORLD = Similarity(0.3, torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), torch.tensor([0.1, 0.2, -0.3]))
CLIP = Clip((0.0, 0.2, 0.7, 1.0), 2.5, True)


def frame_features(cameras: Cameras, *, channels: int = 6) -> FrameFeatureCache:
    """Features of four frames and three views that are nothing but noise."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(CLIP.times), cameras.num_views)
    return FrameFeatureCache(
        maps=torch.randn(*shape, channels, 5, 6, generator=generator).half(),
        valid=torch.ones(shape),
        times=torch.tensor(CLIP.times),
        cameras=cameras,
        distance_maps=torch.randn(*shape, 3, 5, 6, generator=generator).half(),
        depths=(1.5 + torch.rand(*shape, 1, 8, 10, generator=generator)).half(),
    )


def moving_scene(
    gaussians: RawGaussians,
    field: FieldConfig | None = FIELD,
    *,
    fusion: FusionConfig | None = None,
    cameras: Cameras | None = None,
) -> DynamicGaussians:
    """A scene whose heads are not zero and whose time planes are not one, so that it moves."""
    motion = None
    if field is not None:
        features = frame_features(cameras) if cameras is not None else None
        motion = Motion(field, BOX, len(CLIP.times), fusion=fusion, features=features)
        for parameter in (*motion.field.heads.parameters(), *motion.field.hexplane.temporal_planes()):
            torch.nn.init.normal_(parameter)
    return DynamicGaussians(gaussians, motion, CLIP, WORLD)


def assert_alike(ours: Gaussians, theirs: Gaussians, tolerance: float = 0.0) -> None:
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=0, atol=tolerance, msg=name)


def test_times_become_the_leading_axis(tiny_gaussians: RawGaussians) -> None:
    scene = moving_scene(tiny_gaussians)
    times = torch.tensor([0.0, 0.33, 1.0])
    drawn = scene.at(times)
    assert drawn.means.shape == (3, 12, 3)
    assert (drawn.scales > 0).all() and ((drawn.opacities > 0) & (drawn.opacities < 1)).all()
    assert not torch.allclose(drawn.means[0], drawn.means[2], atol=1e-4)
    alone = scene.at(times[1:2])
    torch.testing.assert_close(alone.means[0], drawn.means[1])


def test_reach_is_the_farthest_of_all_frames(tiny_gaussians: RawGaussians) -> None:
    scene = moving_scene(tiny_gaussians)
    farthest = scene.raw_at(torch.tensor(CLIP.times)).means.norm(dim=-1).amax(0)
    torch.testing.assert_close(scene.reach(), farthest)
    assert (scene.reach() > tiny_gaussians.means.norm(dim=-1)).any()


def test_without_a_field_nothing_moves(tiny_gaussians: RawGaussians) -> None:
    raw = moving_scene(tiny_gaussians, None).raw_at(torch.tensor([0.0, 1.0]))
    assert torch.equal(raw.means, tiny_gaussians.means.expand(2, -1, -1))


@pytest.mark.parametrize("time", [-0.01, 1.01])
def test_times_outside_the_clip_are_refused(tiny_gaussians: RawGaussians, time: float) -> None:
    with pytest.raises(ValueError, match=r"times must lie in \[0, 1\], got"):
        moving_scene(tiny_gaussians).at(torch.tensor([0.5, time]))


def test_the_middle_frame_is_the_canonical_one() -> None:
    assert [Clip(tuple(map(float, range(n))), 1.0, False).middle for n in (1, 2, 3, 4)] == [0, 1, 1, 2]


@pytest.mark.parametrize("field", [FIELD, None], ids=["moving", "static"])
def test_save_and_load_give_the_same_scene(
    tmp_path: Path, tiny_gaussians: RawGaussians, field: FieldConfig | None
) -> None:
    scene = moving_scene(tiny_gaussians, field)
    scene.save(tmp_path)
    names = ["baked.safetensors", "scene.json", "scene.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    loaded = DynamicGaussians.load(tmp_path)
    assert loaded.clip == scene.clip
    assert (loaded.field and loaded.field.config) == field
    assert loaded.world.scale == WORLD.scale
    assert torch.equal(loaded.world.rotation, WORLD.rotation)
    assert torch.equal(loaded.world.translation, WORLD.translation)
    expected = scene.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    times = torch.tensor([0.0, 0.4, 1.0])
    assert_alike(loaded.at(times), scene.at(times))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("points", ["canonical", "deformed"])
def test_a_scene_with_features_comes_back_from_its_files(
    tmp_path: Path, tiny_gaussians: RawGaussians, tiny_cameras: Cameras, rule: str, points: str
) -> None:
    fusion = FusionConfig(rule=rule, channels=4, points=points)  # ty: ignore[invalid-argument-type]
    scene = moving_scene(tiny_gaussians, fusion=fusion, cameras=tiny_cameras)
    scene.save(tmp_path)
    loaded = DynamicGaussians.load(tmp_path)
    times = torch.tensor([0.0, 0.4, 0.7, 1.0])
    assert_alike(loaded.at(times), scene.folded().at(times))
    # The learned map applied to the maps beforehand, in half precision, is the same but for rounding.
    assert_alike(scene.folded().at(times), scene.at(times), 1e-2)


@pytest.mark.parametrize("fusion", [None, FusionConfig(channels=4)], ids=["hexplane", "features"])
def test_baked_equals_live_at_the_frames(
    tmp_path: Path, tiny_gaussians: RawGaussians, tiny_cameras: Cameras, fusion: FusionConfig | None
) -> None:
    scene = moving_scene(tiny_gaussians, fusion=fusion, cameras=tiny_cameras if fusion else None)
    scene.save(tmp_path)
    baked = BakedGaussians.load(tmp_path)
    live = DynamicGaussians.load(tmp_path)
    frames = torch.tensor(CLIP.times)
    assert_alike(baked.at(frames), live.at(frames), 1e-5)
    assert (baked.clip, baked.world.scale) == (CLIP, WORLD.scale)


def test_between_frames_the_baked_gaussians_are_blended(tiny_gaussians: RawGaussians) -> None:
    scene = moving_scene(tiny_gaussians)
    baked = scene.bake()
    ends = scene.raw_at(torch.tensor([0.2, 0.7]))
    half_way = baked.raw_at(torch.tensor([0.45]))
    torch.testing.assert_close(half_way.means[0], ends.means.mean(0))
    torch.testing.assert_close(half_way.sh[0], ends.sh.mean(0))


def test_a_still_scene_bakes_to_its_frames(tiny_gaussians: RawGaussians) -> None:
    baked = moving_scene(tiny_gaussians, None).bake()
    assert baked.frames.means.shape == (4, 12, 3)
    assert torch.equal(baked.raw_at(torch.tensor([0.3])).sh, tiny_gaussians.sh)


def test_baked_frames_of_another_scene_are_refused(tmp_path: Path, tiny_gaussians: RawGaussians) -> None:
    moving_scene(tiny_gaussians).save(tmp_path)
    tensors = load_file(tmp_path / "baked.safetensors")
    save_file({name: tensor[:2].clone() for name, tensor in tensors.items()}, tmp_path / "baked.safetensors")
    with pytest.raises(ValueError, match=r"baked\.safetensors is damaged or does not belong to .*scene\.json"):
        BakedGaussians.load(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_not_saved(tmp_path: Path, tiny_gaussians: RawGaussians, bad: float) -> None:
    scene = moving_scene(tiny_gaussians)
    with torch.no_grad():
        scene.gaussians.log_scales[4, 1] = bad
    with pytest.raises(ValueError, match=r"gaussians\.log_scales must be finite, got NaN or Inf"):
        scene.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nan_is_not_loaded(tmp_path: Path, tiny_gaussians: RawGaussians) -> None:
    moving_scene(tiny_gaussians).save(tmp_path)
    tensors = load_file(tmp_path / "scene.safetensors")
    tensors["gaussians.means"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "scene.safetensors")
    with pytest.raises(ValueError, match=r"scene\.safetensors: gaussians\.means must be finite"):
        DynamicGaussians.load(tmp_path)


def without(key: str) -> Callable[[dict], dict]:
    return lambda record: {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("format"), r"scene\.json must be a scene's json, got KeyError"),
        (without("clip"), r"scene\.json must be a scene's json, but _Record must hold the keys clip"),
        (
            lambda record: record | {"format": 99},
            r"must have format 3, got 99\. Use a newer ds4d",
        ),
        (lambda record: record | {"format": 2}, r"must have format 3, got 2\. Use ds4d 0\.1"),
        (lambda record: record | {"weather": "fine"}, r"got weather"),
        (lambda record: record | {"num_gaussians": 13}, r"scene\.safetensors is damaged or does not belong to"),
        (lambda record: record | {"num_gaussians": "many"}, r"num_gaussians must be int, got 'many'"),
        (lambda record: record | {"field": None}, r"scene\.safetensors is damaged or does not belong to"),
        (lambda record: [record], r"scene\.json must be a scene's json, got TypeError"),
    ],
)
def test_a_wrong_record_is_refused(
    tmp_path: Path, tiny_gaussians: RawGaussians, change: Callable[[dict], object], message: str
) -> None:
    moving_scene(tiny_gaussians).save(tmp_path)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=message):
        DynamicGaussians.load(tmp_path)


@pytest.mark.parametrize("name", ["scene.json", "scene.safetensors", "baked.safetensors"])
def test_missing_and_damaged_files_are_refused(tmp_path: Path, tiny_gaussians: RawGaussians, name: str) -> None:
    moving_scene(tiny_gaussians).save(tmp_path)
    path = tmp_path / name
    load = BakedGaussians.load if name.startswith("baked") else DynamicGaussians.load
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff\xfe nothing of the kind"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=rf"{name} must exist, got none\. Give the output folder of `ds4d generate`"):
        load(tmp_path)
