"""A scene's files: round trip, and files that are missing, damaged or inconsistent."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ds4d.fusion import RULES, FusionConfig
from ds4d.scene import BakedGaussians, DynamicGaussians
from ds4d.types import Cameras

MakeScene = Callable[..., DynamicGaussians]


@pytest.mark.parametrize("moves", [True, False], ids=["moving", "static"])
def test_round_trip(tmp_path: Path, make_scene: MakeScene, assert_close: Callable[..., None], moves: bool) -> None:
    scene = make_scene() if moves else make_scene(None)
    scene.save(tmp_path)
    names = ["baked.safetensors", "scene.json", "scene.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    loaded = DynamicGaussians.load(tmp_path)
    assert loaded.timeline == scene.timeline
    assert (loaded.field and loaded.field.config) == (scene.field and scene.field.config)
    assert loaded.world.scale == scene.world.scale
    assert torch.equal(loaded.world.rotation, scene.world.rotation)
    assert torch.equal(loaded.world.translation, scene.world.translation)
    expected = scene.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    times = torch.tensor([0.0, 0.4, 1.0])
    assert_close(loaded.at(times), scene.at(times))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("points", ["canonical", "deformed"])
def test_round_trip_with_features(
    tmp_path: Path,
    make_scene: MakeScene,
    tiny_cameras: Cameras,
    assert_close: Callable[..., None],
    rule: str,
    points: str,
) -> None:
    fusion = FusionConfig(rule=rule, channels=4, points=points)
    scene = make_scene(fusion=fusion, cameras=tiny_cameras)
    scene.save(tmp_path)
    loaded = DynamicGaussians.load(tmp_path)
    times = torch.tensor([0.0, 0.4, 0.7, 1.0])
    assert_close(loaded.at(times), scene.folded().at(times))
    assert_close(scene.folded().at(times), scene.at(times), 1e-2)  # folded maps are rounded to half precision


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_not_saved(tmp_path: Path, make_scene: MakeScene, bad: float) -> None:
    scene = make_scene()
    with torch.no_grad():
        scene.gaussians.log_scales[4, 1] = bad
    with pytest.raises(ValueError, match=r"gaussians\.log_scales"):
        scene.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nan_is_not_loaded(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene().save(tmp_path)
    tensors = load_file(tmp_path / "scene.safetensors")
    tensors["gaussians.means"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "scene.safetensors")
    with pytest.raises(ValueError, match=r"gaussians\.means"):
        DynamicGaussians.load(tmp_path)


def _without(key: str) -> Callable[[dict], dict]:
    return lambda record: {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_without("format"), "KeyError"),
        (_without("timeline"), "timeline"),
        (lambda record: record | {"format": 99}, "99.*newer"),
        (lambda record: record | {"format": 1}, "format 3, got 1"),
        (lambda record: record | {"weather": "fine"}, "weather"),
        (lambda record: record | {"num_gaussians": 13}, r"scene\.safetensors"),
        (lambda record: record | {"num_gaussians": "many"}, "num_gaussians"),
        (lambda record: record | {"field": None}, r"scene\.safetensors"),
        (lambda record: [record], "TypeError"),
    ],
)
def test_wrong_record_raises(
    tmp_path: Path, make_scene: MakeScene, change: Callable[[dict], object], named: str
) -> None:
    make_scene().save(tmp_path)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=named):
        DynamicGaussians.load(tmp_path)


@pytest.mark.parametrize("name", ["scene.json", "scene.safetensors", "baked.safetensors"])
def test_missing_and_damaged_files_raise(tmp_path: Path, make_scene: MakeScene, name: str) -> None:
    make_scene().save(tmp_path)
    path = tmp_path / name
    load = BakedGaussians.load if name.startswith("baked") else DynamicGaussians.load
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff\xfe nothing of the kind"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load(tmp_path)
