"""The training: what it learns, how it continues, and what it says about folders it cannot use."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.lift_training import TrainSettings, train
from ds4d.lift_training.__main__ import main
from ds4d.lift_training.data import split_models
from ds4d.lift_training.images import Surfaces
from ds4d.lift_training.loop import Trainer, state_path
from ds4d.lift_training.model_pool import ModelPool
from ds4d.lift_training.objective import ObjectiveWeights, objective_terms, weighted_sum
from ds4d.lift_training.settings import DataSettings
from ds4d.lift_training.validation import validate, validation_images
from ds4d.lift_training.warp import WarpSettings
from ds4d.multiview.lift.checkpoint import read_network, save_network
from ds4d.multiview.lift.network import NetworkConfig, Prediction

TINY = NetworkConfig(size=32, half_channels=16, quarter_channels=32, width=64, depth=1, head_width=32)


@pytest.fixture
def settings(tmp_path: Path) -> TrainSettings:
    return TrainSettings(
        data=tmp_path / "models",
        out=tmp_path / "net.safetensors",
        images=64,
        batch=4,
        every=2,
        warmup=2,
        validate_images=2,
        device="cpu",
        compile=False,
        network=TINY,
        models=DataSettings(poses=2, samples=2000, workers=1, procedural=2),
    )


@pytest.fixture
def models(tmp_path: Path, glb) -> Path:
    """A folder with four boxes that spin, and a file that is none."""
    folder = tmp_path / "models"
    folder.mkdir()
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    indices = glb.add([i for a, b, c, d in sides for i in (a, b, c, a, c, d)], "u2")
    glb.json["meshes"] = [{"primitives": [{"attributes": {"POSITION": glb.add(corners)}, "indices": indices}]}]
    glb.json["nodes"] = [{"mesh": 0}]
    half = 0.5**0.5
    output = glb.add([[0, 0, 0, 1], [0, half, 0, half]])
    glb.json["animations"] = [
        {
            "samplers": [{"input": glb.add([0, 1.0]), "output": output}],
            "channels": [{"sampler": 0, "target": {"node": 0, "path": "rotation"}}],
        }
    ]
    first = glb.write(folder / "box0.glb")
    for number in range(1, 4):
        (folder / f"box{number}.glb").write_bytes(first.read_bytes())
    (folder / "broken.glb").write_bytes(b"no model")
    (folder / "split.json").write_text(json.dumps({"train": ["box0.glb"], "validation": ["box3.glb"]}))
    return folder


def surfaces(*, depth: float = 0.2) -> Surfaces:
    mask = torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[:, 4:12, 4:12] = True
    depths = torch.full((2, 16, 16), depth)
    return Surfaces(mask, -depths, depths, torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16))


def test_the_truth_has_no_loss_and_errors_have_theirs() -> None:
    truth = surfaces()
    zero = torch.zeros_like(truth.front)
    exact = Prediction(truth.front, truth.back, zero, zero, truth.back_colors)
    terms = objective_terms(exact, truth, truth.mask.float())
    assert terms["depth"] == terms["slope"] == terms["color"] == 0
    off = replace(exact, front=exact.front + 0.1, back=exact.back - 0.05)
    terms = objective_terms(off, truth, truth.mask.float())
    assert float(terms["depth"]) == pytest.approx(0.15, rel=1e-4) and float(terms["slope"]) == pytest.approx(
        0, abs=1e-6
    )
    weights = ObjectiveWeights(depth=2.0, slope=0.0, color=0.0, scale=0.0)
    assert float(weighted_sum(terms, weights)) == pytest.approx(0.3, rel=1e-4)
    outside = replace(exact, front=torch.where(truth.mask, exact.front, 5.0))
    assert objective_terms(outside, truth, truth.mask.float())["depth"] == 0


def test_scales_learn_the_size_of_the_errors_and_depths_nothing_from_them() -> None:
    truth = surfaces()
    front = (truth.front + 0.1).requires_grad_()
    log_scale = torch.full_like(truth.front, float(np.log(0.1))).requires_grad_()
    prediction = Prediction(front, truth.back, log_scale, torch.zeros_like(front), truth.back_colors)
    objective_terms(prediction, truth, truth.mask.float())["scale"].backward()
    assert front.grad is None
    assert log_scale.grad is not None and log_scale.grad.abs().max() < 1e-6  # 0.1 is the most likely scale


def test_training_lowers_the_loss_and_continues(coarse_pool: ModelPool, settings: TrainSettings) -> None:
    settings = replace(
        settings, images=480, batch=8, every=10, learning_rate=2e-3, cooldown=0.0, warps=WarpSettings(0.0)
    )
    trainer = Trainer(settings, coarse_pool)
    steps = list(trainer.run())
    assert [step.images for step in steps] == [80, 160, 240, 320, 400, 480]
    assert steps[-1].loss < 0.8 * steps[0].loss
    assert steps[0].loss == pytest.approx(
        sum(getattr(settings.weights, name) * value for name, value in steps[0].terms.items()), rel=1e-3
    )
    trainer.save_state(state_path(settings.out))
    save_network(settings.out, trainer.average, {"images": trainer.images})
    resumed = Trainer(replace(settings, images=80, resume=True), coarse_pool)
    assert resumed.images == 480
    for before, after in zip(trainer.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(before, after)
    assert list(resumed.run())[-1].images == 560


def test_equal_seeds_train_equal_networks(coarse_pool: ModelPool, settings: TrainSettings) -> None:
    def trained(seed: int) -> torch.Tensor:
        trainer = Trainer(replace(settings, images=16, seed=seed), coarse_pool)
        list(trainer.run())
        return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])

    assert torch.equal(trained(0), trained(0)) and not torch.equal(trained(0), trained(1))


def test_dropout_is_for_training_alone(coarse_pool: ModelPool, settings: TrainSettings) -> None:
    trainer = Trainer(replace(settings, dropout=0.5), coarse_pool)
    for network in (trainer.network, trainer.average):  # the last layers begin as zeros
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(0))
    inputs = trainer.draw().inputs
    assert not torch.equal(trainer.network(inputs), trainer.network(inputs))
    assert torch.equal(trainer.average(inputs), trainer.average(inputs))


def test_validation_of_a_ball(coarse_pool: ModelPool, settings: TrainSettings) -> None:
    batches = list(
        validation_images(
            coarse_pool, 2, 32, settings.cameras, replace(settings.appearance, pattern=0.0, repaint=0.0), seed=0
        )
    )
    figures = validate(None, batches)
    assert figures["front"] < 0.25 and figures["normal"] < 45 and figures["iou"] > 0.5
    assert {"back", "color", "psnr", "psnr_object"} <= set(figures)


def test_a_folder_is_trained_on_and_what_is_unreadable_is_listed(
    models: Path, settings: TrainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    card = train(settings, report=lines.append)
    assert any("broken.glb" in line for line in lines)
    found = read_network(settings.out)
    network, read_card = found.network, found.card
    assert network.config == TINY and read_card == json.loads(json.dumps(card))
    (run,) = card["runs"]
    assert run["models"] == {"files": 3, "procedural": 2, "held_out": 1} and card["images"] == run["images"] == 64
    assert set(run["held_out_figures"]) == {"inflate", "network"}
    resumed = train(replace(settings, resume=True), report=lines.append)
    assert resumed["images"] == 128
    state_path(settings.out).unlink()
    assert train(replace(settings, resume=True), report=lines.append)["images"] == 192
    with pytest.raises(ValueError, match="network"):
        train(replace(settings, resume=True, network=replace(TINY, half_channels=24)), report=lines.append)


def test_a_network_is_continued_with_more_blocks_from_where_it_was(
    coarse_pool: ModelPool, settings: TrainSettings
) -> None:
    trainer = Trainer(settings, coarse_pool)
    list(trainer.run())
    save_network(settings.out, trainer.average, {"images": trainer.images})
    trainer.save_state(state_path(settings.out))
    deeper = replace(settings, resume=True, network=replace(settings.network, depth=settings.network.depth + 2))
    resumed = Trainer(deeper, coarse_pool)
    inputs = trainer.draw().inputs
    with torch.no_grad():
        before, after = read_network(settings.out).network(inputs), resumed.network(inputs)
    assert torch.equal(before, after) and before.abs().max() > 0
    assert list(resumed.run())[-1].images == 2 * trainer.images
    save_network(settings.out, resumed.average, {"images": resumed.images})
    with pytest.raises(ValueError, match="network"):
        Trainer(replace(settings, resume=True), coarse_pool)


def test_a_training_that_is_cut_short_is_continued_from_its_last_saving(models: Path, settings: TrainSettings) -> None:
    def stop(line: str) -> None:
        if "M images" in line and settings.out.is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(settings, save_minutes=1e-6), report=stop)
    saved = read_network(settings.out).card["images"]
    assert 0 < saved < settings.images
    assert train(replace(settings, resume=True), report=[].append)["images"] == saved + settings.images


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "net.safetensors")
    assert main(["--data", str(tmp_path / "none"), "--out", out]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["--data", str(tmp_path / "empty"), "--out", out]) == 1
    assert str(tmp_path / "empty") in capsys.readouterr().err


def test_splits_follow_the_file_or_the_group(models: Path) -> None:
    settings = DataSettings(validation=0.5)
    split = split_models(models, settings)
    assert split.validation == ("box3.glb",) and "box0.glb" in split.train
    (models / "split.json").unlink()
    (models / "models.json").write_text(
        json.dumps([{"file": f"box{i}.glb", "rig_id": "one" if i < 2 else "two"} for i in range(4)])
    )
    split = split_models(models, settings)
    assert split == split_models(models, settings)
    assert ("box0.glb" in split.train) == ("box1.glb" in split.train)  # a rig is never on both sides
    without = split_models(models, replace(settings, validation=0.0, without_groups=("one",)))
    assert "box0.glb" not in without.train and "box2.glb" in without.train
    (models / "split.json").write_text("{")
    with pytest.raises(ValueError, match=r"split\.json"):
        split_models(models, settings)


@pytest.mark.parametrize(("name", "value"), [("images", 0), ("cooldown", 2.0), ("out", Path("net.bin"))])
def test_settings_out_of_range_are_named(settings: TrainSettings, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        replace(settings, **{name: value})


def test_two_processes_train_one_network(models: Path, settings: TrainSettings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *("-m", "ds4d.lift_training", "--data", models, "--out", settings.out, "--device", "cpu", "--no-compile"),
        *("--images", "32", "--batch", "4", "--validate-images", "1", "--models.workers", "1", "--models.poses", "1"),
        *("--models.procedural", "2"),
        *("--models.samples", "500", "--network.size", "32", "--network.width", "32", "--network.head-width", "32"),
        *("--network.depth", "1", "--network.half-channels", "8", "--network.quarter-channels", "8"),
    ]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**os.environ, **shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "held-out" in outputs[0] and not outputs[1].strip()
    assert read_network(settings.out).card["images"] == 32
