"""Resuming is bit-exact, and unusable checkpoints are refused."""

import errno
import json
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ds4d.config import GenerateConfig
from ds4d.core import Warned, notices_to
from ds4d.decoupling import DecouplingConfig
from ds4d.fusion import FusionConfig
from ds4d.io import write_tensors
from ds4d.losses import LossConfig, ViewCorrectionConfig
from ds4d.pipeline import prepare
from ds4d.scene import endless_lifetimes
from ds4d.scene.lifetimes import FOREVER
from ds4d.training import (
    GaussiansChanged,
    Trainer,
    TrainingDiverged,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from ds4d.types import MultiViewVideo

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(quick_config: GenerateConfig) -> GenerateConfig:
    """Twenty steps; densification after steps 6, 12 and 18."""
    density = replace(quick_config.training.densification, every=6, start=0.0, stop=1.0)
    return replace(
        quick_config, training=replace(quick_config.training, static_steps=4, dynamic_steps=16, densification=density)
    )


def run_until(trainer: Trainer, step: int) -> list[GaussiansChanged]:
    changes = []
    for event in trainer.run():
        if isinstance(event, GaussiansChanged):
            changes.append(event)
        elif event.step == step:
            break
    return changes


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if isinstance(value, dict):
            assert_same(ours[name], value)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(ours[name], value), name
        elif name != "seconds":
            assert ours[name] == value, name


def finished_state(video: MultiViewVideo, config: GenerateConfig) -> dict[str, Any]:
    """The state of a trainer that was not interrupted."""
    trainer = prepare(video, config, CPU)
    list(trainer.run())
    return trainer.state_dict()


def test_lifetimes_come_from_the_checkpoint(
    quick_video: MultiViewVideo, config: GenerateConfig, tmp_path: Path
) -> None:
    """Also into a trainer that had none; and through densification, where clones inherit those of their sources."""
    trainer = prepare(quick_video, config, CPU)
    lifetimes = endless_lifetimes(trainer.scene.num_gaussians)
    lifetimes[::3, 0] = 0.5
    trainer.scene.gaussians.lifetimes = lifetimes
    assert run_until(trainer, 8)
    save_checkpoint(trainer, tmp_path / "state.safetensors")
    other = prepare(quick_video, config, CPU)
    load_checkpoint(other, tmp_path / "state.safetensors")
    births = trainer.scene.gaussians.lifetimes[:, 0]
    assert len(births) == trainer.scene.num_gaussians and set(births.unique().tolist()) == {-FOREVER, 0.5}
    list(trainer.run())
    list(other.run())
    assert_same(other.state_dict(), trainer.state_dict())


def test_lifetimes_that_are_none_are_refused(
    quick_video: MultiViewVideo, config: GenerateConfig, tmp_path: Path
) -> None:
    trainer = prepare(quick_video, config, CPU)
    trainer.scene.gaussians.lifetimes = endless_lifetimes(trainer.scene.num_gaussians).flip(1)
    save_checkpoint(trainer, tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match="lifetimes"):
        load_checkpoint(prepare(quick_video, config, CPU), tmp_path / "state.safetensors")


@dataclass(frozen=True)
class Generated:
    """Training with all that has a state, view correction, depth images of the fusion and neighbors; and its end."""

    video: MultiViewVideo
    config: GenerateConfig
    state: dict[str, Any]


@pytest.fixture(scope="module")
def plain_state(quick_video: MultiViewVideo, config: GenerateConfig) -> dict[str, Any]:
    """The end of training without fusion."""
    return finished_state(quick_video, replace(config, fusion=None))


@pytest.fixture(scope="module")
def generated(quick_video: MultiViewVideo, config: GenerateConfig) -> Generated:
    weights = torch.tensor([1.0, *[0.5] * (quick_video.num_views - 1)])
    config = replace(
        config,
        training=replace(config.training, losses=LossConfig(rigidity=0.5), view_correction=ViewCorrectionConfig()),
        fusion=FusionConfig(rule="visible", depth_size=24, depth_every=4),
    )
    video = replace(quick_video, view_weights=weights)
    return Generated(video, config, finished_state(video, config))


def resumed(folder: Path, video: MultiViewVideo, config: GenerateConfig, stop: int, state: dict[str, Any]) -> Trainer:
    """A finished trainer that was interrupted and resumed, after it was compared with an uninterrupted one's state."""
    first = prepare(video, config, CPU)
    run_until(first, stop)
    save_checkpoint(first, folder / "fit.safetensors")
    torch.manual_seed(123)  # training must not use the global generator
    second = prepare(video, config, CPU)
    load_checkpoint(second, folder / "fit.safetensors")
    assert second.step == stop and second.seconds == first.seconds
    changes = [event.step for event in second.run() if isinstance(event, GaussiansChanged)]
    assert changes == [step for step in (6, 12, 18) if step > stop]
    assert_same(second.state_dict(), state)
    return second


@pytest.mark.parametrize("stop", [3, 9])
def test_resume_is_bit_exact(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, plain_state: dict[str, Any], stop: int
) -> None:
    resumed(tmp_path, quick_video, replace(config, fusion=None), stop, plain_state)


@pytest.mark.parametrize("stop", [3, 9, 14])
def test_resume_with_generated_views_is_bit_exact(tmp_path: Path, generated: Generated, stop: int) -> None:
    trainer = resumed(tmp_path, generated.video, generated.config, stop, generated.state)
    assert trainer.view_correction is not None and trainer.view_correction.warp.abs().max() > 0
    assert trainer.functions.neighbors.shape[1] == 8
    assert trainer.scene.motion is not None and trainer.scene.motion.features is not None
    assert trainer.scene.motion.features.depths is not None and trainer.scene.motion.features.depths.any()


def test_nan_does_not_overwrite_a_checkpoint(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    trainer = prepare(quick_video, config, CPU)
    save_checkpoint(trainer, tmp_path / "fit.safetensors")
    before = (tmp_path / "fit.safetensors").read_bytes()
    with torch.no_grad():
        trainer.scene.gaussians.quats[3] = torch.nan
    with pytest.raises(TrainingDiverged, match="finite"):
        save_checkpoint(trainer, tmp_path / "fit.safetensors")
    assert (tmp_path / "fit.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_and_damaged_files_are_refused(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    path = tmp_path / "fit.safetensors"
    trainer = prepare(quick_video, config, CPU)
    with pytest.raises(ValueError, match=r"fit\.safetensors must exist"):
        load_checkpoint(trainer, path)
    save_checkpoint(trainer, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"fit\.safetensors is damaged"):
        load_checkpoint(trainer, path)
    path.write_bytes(b"no tensors at all")
    with pytest.raises(ValueError, match=r"fit\.safetensors is damaged"):
        load_checkpoint(trainer, path)


@pytest.mark.parametrize(("version", "reader"), [(1, r"ds4d 0\.1"), (99, "newer ds4d")])
def test_other_formats_name_their_reader(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, version: int, reader: str
) -> None:
    path = tmp_path / "fit.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"ds4d": json.dumps({"format": version})})
    with pytest.raises(ValueError, match=reader):
        load_checkpoint(prepare(quick_video, config, CPU), path)


def test_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    assert config.field is not None
    save_checkpoint(prepare(quick_video, config, CPU), tmp_path / "fit.safetensors")
    wider = replace(config, field=replace(config.field, width=40))
    with pytest.raises(ValueError, match="same settings"):
        load_checkpoint(prepare(quick_video, wider, CPU), tmp_path / "fit.safetensors")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, quick_video: MultiViewVideo, quick_config: GenerateConfig) -> Path:
    """A checkpoint after three steps, with everything that has a state."""
    path = tmp_path_factory.mktemp("saved") / "fit.safetensors"
    trainer = prepare(quick_video, everything(quick_config), CPU)
    run_until(trainer, 3)
    save_checkpoint(trainer, path)
    return path


def everything(config: GenerateConfig) -> GenerateConfig:
    return replace(
        config,
        training=replace(config.training, losses=LossConfig(rigidity=0.5)),
        fusion=FusionConfig(rule="visible", depth_size=24, depth_every=4),
    )


def _values(**values: Any) -> Callable[[dict, dict], None]:
    return lambda tensors, record: record["values"].update({name.replace("__", "/"): v for name, v in values.items()})


def _tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor] | None) -> Callable[[dict, dict], None]:
    def damage(tensors: dict, record: dict) -> None:
        tensor = tensors.pop(name)
        if change is not None:
            tensors[name] = change(tensor).contiguous()

    return damage


def _with_value(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: torch.full_like(tensor, value)


ADAM = "optimizer/means.0.exp_avg"
FAULTS: dict[str, Callable[[dict, dict], object]] = {
    "list": lambda tensors, record: record.update(values=[]),
    "no values": lambda tensors, record: record.pop("values"),
    "no step": lambda tensors, record: record["values"].pop("step"),
    "no sampler": lambda tensors, record: record["values"].pop("sampler/times"),
    "deep": lambda tensors, record: record["values"].update(step=[[[]]] * 2),
    "name in a name": _values(step__a=1),
    "foreign": _values(other=1),
    "step below 0": _values(step=-1),
    "step beyond the end": _values(step=10**9),
    "step as text": _values(step="3"),
    "finished before the end": _values(is_finished=True),
    "finished as a number": _values(is_finished=1),
    "seconds": _values(seconds=float("nan")),
    "times": _values(sampler__times=[10**6]),
    "views": _values(sampler__views=[[0, 10**6]]),
    "views without a time": _values(sampler__views=[[]]),
    "views as text": _values(sampler__views="views"),
    "no generator": _tensor("generator", None),
    "short generator": _tensor("generator", lambda tensor: tensor[:100]),
    "no neighbors": _tensor("neighbors", None),
    "neighbors beyond": _tensor("neighbors", lambda tensor: tensor + 10**6),
    "neighbors below": _tensor("neighbors", lambda tensor: tensor - 10**6),
    "neighbors as numbers": _tensor("neighbors", lambda tensor: tensor.float()),
    "depth steps": _tensor("depth_steps", lambda tensor: tensor[:1]),
    "no density": _tensor("densification/count", None),
    "short density": _tensor("densification/grad2d", lambda tensor: tensor[:3]),
    "NaN": _tensor("scene/gaussians.means", _with_value(torch.nan)),
    "no Gaussians": _tensor("scene/gaussians.means", lambda tensor: tensor[:0]),
    "half": _tensor("scene/gaussians.quats", lambda tensor: tensor.half()),
    "integers": _tensor("scene/gaussians.log_scales", lambda tensor: tensor.int()),
    "moments of another shape": _tensor(ADAM, lambda tensor: tensor[:, :2]),
    "moments of NaN": _tensor(ADAM, _with_value(torch.nan)),
    "squares below 0": _tensor("optimizer/means.0.exp_avg_sq", _with_value(-1.0)),
    "no squares": _tensor("optimizer/means.0.exp_avg_sq", None),
    "averages as a number": _values(average=0),
    "averages of NaN": lambda tensors, record: (
        tensors.update(
            {
                f"average/{name.removeprefix('scene/')}": torch.full_like(tensor, torch.nan)
                for name, tensor in tensors.items()
                if name.startswith("scene/")
            }
        ),
        record["values"].update({"average/count": 1}),
    ),
    "averages of nothing": lambda tensors, record: tensors.update({"average/x": torch.zeros(1)}),
    "averages of some": lambda tensors, record: (
        tensors.update({"average/gaussians.means": tensors["scene/gaussians.means"]}),
        record["values"].update({"average/count": 1}),
    ),
    "moments of nothing": lambda tensors, record: tensors.update({"optimizer/x.0.exp_avg": torch.zeros(1)}),
}


@pytest.fixture(scope="module")
def at_start(quick_video: MultiViewVideo, quick_config: GenerateConfig) -> tuple[Trainer, dict[str, Any]]:
    """A trainer that is not to be changed, and a copy of its state."""
    trainer = prepare(quick_video, everything(quick_config), CPU)
    return trainer, deepcopy(trainer.state_dict())


@pytest.mark.parametrize("fault", FAULTS)
def test_hostile_checkpoints_are_refused_and_change_nothing(
    tmp_path: Path, saved: Path, at_start: tuple[Trainer, dict[str, Any]], fault: str
) -> None:
    with safe_open(str(saved), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(file.metadata()["ds4d"])
    FAULTS[fault](tensors, record)
    path = tmp_path / "fit.safetensors"
    write_tensors(path, tensors, {"ds4d": json.dumps(record)})  # with a digest that fits
    trainer, before = at_start
    with pytest.raises(ValueError, match=r"fit\.safetensors"):
        load_checkpoint(trainer, path)
    assert_same(trainer.state_dict(), before)


def test_a_checkpoint_before_the_first_step_can_be_resumed(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    save_checkpoint(prepare(quick_video, config, CPU), tmp_path / "fit.safetensors")
    trainer = prepare(quick_video, config, CPU)
    load_checkpoint(trainer, tmp_path / "fit.safetensors")
    assert trainer.step == 0


def flip_bit(path: Path) -> None:
    """Changes one value a little, as a failing disk does."""
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def two_checkpoints(path: Path, video: MultiViewVideo, config: GenerateConfig) -> Trainer:
    """A trainer that was saved at its steps 2 and 4."""
    trainer = prepare(video, config, CPU)
    for step in (2, 4):
        run_until(trainer, step)
        save_checkpoint(trainer, path)
    return trainer


def test_a_flipped_bit_is_noticed(tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig) -> None:
    path = tmp_path / "last.safetensors"
    trainer = prepare(quick_video, config, CPU)
    save_checkpoint(trainer, path)
    flip_bit(path)
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged"):
        load_checkpoint(trainer, path)


@pytest.mark.parametrize("damage", [flip_bit, Path.unlink, lambda path: path.write_bytes(b"")])
def test_the_checkpoint_before_a_damaged_one_is_used(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, damage: Callable[[Path], Any]
) -> None:
    """With a notice; and the fit ends as one that was never interrupted."""
    path, config = tmp_path / "last.safetensors", replace(config, fusion=None)
    whole = two_checkpoints(path, quick_video, config)
    damage(path)
    assert has_checkpoint(path)
    again = prepare(quick_video, config, CPU)
    with notices_to((notices := []).append):
        load_checkpoint(again, path)
    assert again.step == 2
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "checkpoint")]
    assert "last.safetensors" in notices[0].message
    save_checkpoint(again, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.safetensors", "previous.safetensors"]
    for trainer in (whole, again):
        list(trainer.run())
    assert_same(again.state_dict(), whole.state_dict())


def test_two_damaged_checkpoints_are_refused(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    path = tmp_path / "last.safetensors"
    trainer = two_checkpoints(path, quick_video, config)
    for file in tmp_path.iterdir():
        flip_bit(file)
    with pytest.raises(ValueError, match="damaged"):
        load_checkpoint(trainer, path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_of_other_settings_is_not_replaced_by_the_one_before(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    path = tmp_path / "last.safetensors"
    two_checkpoints(path, quick_video, config)
    assert config.field is not None
    wider = prepare(quick_video, replace(config, field=replace(config.field, width=40)), CPU)
    with pytest.raises(ValueError, match="same settings"):
        load_checkpoint(wider, path)
    assert path.is_file()


def test_file_systems_without_links_keep_two_checkpoints(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    path = tmp_path / "last.safetensors"
    two_checkpoints(path, quick_video, config)
    trainer = prepare(quick_video, config, CPU)
    load_checkpoint(trainer, path)
    assert trainer.step == 4
    path.unlink()
    with notices_to(lambda notice: None):
        load_checkpoint(trainer, path)
    assert trainer.step == 2


def test_resume_with_features_as_a_guide_is_bit_exact(
    tmp_path: Path, quick_video: MultiViewVideo, config: GenerateConfig
) -> None:
    """With everything that the dynamic share guides; each option changes the fit."""
    plain = replace(config, fusion=FusionConfig(rule="average", depth_size=24, depth_every=4))
    assert config.field is not None and plain.fusion is not None
    changes: dict[str, dict[str, Any]] = {
        "decoupling": {"decoupling": DecouplingConfig("robust", segments=2, loss_weight=4.0)},
        "field": {"field": replace(config.field, dynamic_gate=True)},
        "fusion": {"fusion": replace(plain.fusion, hidden_only=True)},
        "learned": {"decoupling": DecouplingConfig("learned")},
        "guided": {"decoupling": DecouplingConfig(growth_weight=4.0, frame_weight=4.0)},
        "still": {"training": replace(config.training, losses=replace(config.training.losses, stillness=1.0))},
    }
    ends = {name: finished_state(quick_video, replace(plain, **change)) for name, change in changes.items()}
    ends["none"] = finished_state(quick_video, plain)
    means = {name: state["scene"]["gaussians.means"] for name, state in ends.items()}
    for name in changes:
        assert means[name].shape != means["none"].shape or not torch.equal(means[name], means["none"]), name
    everything = replace(plain, **{key: value for change in changes.values() for key, value in change.items()})
    all_guides = DecouplingConfig("learned", loss_weight=4.0, growth_weight=4.0, frame_weight=4.0)
    everything = replace(everything, decoupling=all_guides)
    trainer = resumed(tmp_path, quick_video, everything, 9, finished_state(quick_video, everything))
    gate = trainer.scene.field.gate if trainer.scene.field else None
    assert gate is not None and gate.middle != type(gate)().middle
