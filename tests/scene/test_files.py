"""A scene's files: round trip, and files that are missing, damaged or inconsistent."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ds4d.deformation import FieldConfig, HexPlaneConfig
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


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scene of `saved` is kept."""
    return tmp_path_factory.mktemp("scene") / "saved"


@pytest.fixture
def saved(saved_folder: Path, make_scene: MakeScene, tiny_cameras: Cameras) -> Path:
    """The files of a scene with everything in it, saved once; not to be written into."""
    if not saved_folder.exists():
        make_scene(fusion=FusionConfig(rule="visible", channels=4), cameras=tiny_cameras).save(saved_folder)
    return saved_folder


def _set(*path: str | int, to: object) -> Callable[[dict], object]:
    def change(record: dict) -> dict:
        inner: dict = record
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        return record

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("field", "depth", to=10**12),
        _set("field", "width", to=10**9),
        _set("field", "hexplane", "channels", to=10**6),
        _set("field", "hexplane", "multipliers", to=[1] * 10_000),
        _set("field", "hexplane", "multipliers", to=[1, 10**9]),
        _set("field", "hexplane", "time_resolution", to=10**12),
        _set("fusion", "channels", to=10**9),
        _set("image", to=[10**9, 10**9]),
        _set("image", to=[]),
        _set("image", to=None),
        _set("num_gaussians", to=10**12),
        _set("num_gaussians", to=-1),
        _set("num_gaussians", to=10**400),
        _set("sh_bases", to=10**9),
        _set("timeline", "times", to=[]),
        _set("timeline", "times", to=[0, 0.5, 0.2, 1]),
        _set("timeline", "times", to=[0.0, 0.1, 0.2, float("nan")]),
        _set("timeline", "times", to=[0.0, 0.1, 0.2, 1e300]),
        _set("timeline", "duration", to=float("inf")),
        _set("timeline", "duration", to=1e300),
        _set("timeline", "duration", to=0),
        _set("world", "scale", to=float("nan")),
        _set("world", "rotation", to=[[1, 0], [0, 1]]),
        _set("world", "rotation", 0, 0, to=float("inf")),
        _set("world", "translation", to=[0.0] * 4),
        lambda record: [[[]] * 20] * 20,
    ],
)
@pytest.mark.parametrize("kind", [DynamicGaussians, BakedGaussians])
def test_hostile_records_are_refused_before_anything_is_allocated(
    tmp_path: Path, saved: Path, change: Callable[[dict], object], kind: Any
) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"scene\.(json|safetensors)"):
        kind.load(tmp_path)


def test_a_network_larger_than_its_file_is_not_allocated(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene().save(tmp_path)
    path = tmp_path / "scene.json"
    record = _set("field", "hexplane", "channels", to=1024)(json.loads(path.read_text()))
    path.write_text(json.dumps(_set("field", "hexplane", "resolution", to=4096)(record)))  # 800 GB
    with pytest.raises(ValueError, match=r"scene\.safetensors"):
        DynamicGaussians.load(tmp_path)


NAMES = [
    "gaussians.means",
    "motion.field.trunk.0.weight",
    "features.maps",
    "features.viewmats",
    "motion.features.depths",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.int(),
        lambda tensor: tensor > 0,
        lambda tensor: tensor.double(),
        lambda tensor: tensor[:0].clone(),
        lambda tensor: tensor[None].clone(),
        lambda tensor: torch.zeros(()),
        None,
    ],
    ids=["int", "bool", "double", "empty", "axis", "scalar", "missing"],
)
def test_tensors_of_other_kinds_and_shapes_are_refused(
    tmp_path: Path, saved: Path, name: str, change: Callable | None
) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "scene.safetensors"
    tensors = load_file(path)
    tensor = tensors.pop(name)
    if change is not None:
        tensors[name] = change(tensor)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"scene\.safetensors"):
        DynamicGaussians.load(tmp_path)


@pytest.mark.parametrize("name", ["means", "quats", "log_scales", "opacity_logits", "sh"])
@pytest.mark.parametrize("change", [lambda t: t.half(), lambda t: t.int(), lambda t: t[..., :2].clone(), None])
def test_frames_of_other_kinds_and_shapes_are_refused(
    tmp_path: Path, make_scene: MakeScene, name: str, change: Callable | None
) -> None:
    make_scene().save(tmp_path)
    path = tmp_path / "baked.safetensors"
    tensors = load_file(path)
    tensor = tensors.pop(name)
    save_file(tensors if change is None else {**tensors, name: change(tensor)}, path)
    with pytest.raises(ValueError, match=r"baked\.safetensors"):
        BakedGaussians.load(tmp_path)


def test_round_trip_with_a_gate(
    tmp_path: Path, make_scene: MakeScene, tiny_cameras: Cameras, assert_close: Callable[..., None]
) -> None:
    field = FieldConfig(HexPlaneConfig(channels=2, resolution=4, multipliers=(1, 3)), width=8, dynamic_gate=True)
    scene = make_scene(field, fusion=FusionConfig(rule="average", channels=4), cameras=tiny_cameras)
    assert scene.motion is not None and scene.motion.features is not None and scene.motion.field.gate is not None
    scene.motion.features.shares = torch.rand(4, 3, 1, 5, 6).half()
    with torch.no_grad():
        scene.motion.field.gate.middle.fill_(0.6)
    scene.save(tmp_path)
    loaded = DynamicGaussians.load(tmp_path)
    times = torch.tensor([0.0, 0.4, 1.0])
    assert_close(loaded.at(times), scene.folded().at(times))
    tensors = load_file(tmp_path / "scene.safetensors")
    save_file({name: value for name, value in tensors.items() if name != "features.shares"}, tmp_path / "other")
    (tmp_path / "other").replace(tmp_path / "scene.safetensors")
    with pytest.raises(ValueError, match="scene"):
        DynamicGaussians.load(tmp_path)
