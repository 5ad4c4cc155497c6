"""benchmarks/paper_setting.py: what each condition fits, continuation after a kill, and what counts as paying."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ds4d.ablation import CANDIDATES, VARIANTS, AblationScene, paper_setting, variant_configs
from ds4d.ablation.results import Result, read_results
from ds4d.ablation.scenes import load_training_views
from ds4d.core import first_difference, to_dict
from ds4d.data import FolderConfig, read_transforms
from ds4d.fusion import RULES
from ds4d.geometry import HullConfig
from ds4d.init import InitConfig
from ds4d.pipeline import prepare
from ds4d.presets import PRESETS, tiny
from ds4d.types import MultiViewVideo

ROOT = Path(__file__).resolve().parents[1]
SMALL = InitConfig(num_gaussians=500, hull=HullConfig(resolution=24))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paper_setting", ROOT / "benchmarks" / "paper_setting.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_setting"] = module  # where its dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_colors_are_compared_on_the_input_view_alone(no_weights: None, quick_video: MultiViewVideo) -> None:
    """Generated views reach the loss by their masks and by the stand-in for LPIPS."""
    config = paper_setting(PRESETS["cpu"](), rows=2)
    losses = config.training.losses
    assert {name: getattr(losses, name).views for name in ("mse", "mask", "lpips")} == {
        "mse": "input", "mask": "all", "lpips": "generated"
    }  # fmt: skip
    assert not losses.l1.weight and not losses.ssim.weight and config.training.view_correction is None
    assert config.training.lpips_stand_in and not config.guidance.weight
    assert config.training.dynamic_steps == PRESETS["cpu"]().training.dynamic_steps
    trainer = prepare(quick_video, replace(config, init=SMALL), torch.device("cpu"))
    assert trainer.scene.field is not None and trainer.objective.uses_lpips
    assert {plane.shape[2] for plane in trainer.scene.field.hexplane.temporal_planes()} == {2}
    heavier = paper_setting(tiny(), rows=0, lpips_weight=0.3)
    assert heavier.training.losses.lpips.weight == 0.3 and heavier.training.losses.mse == losses.mse


def test_candidates_change_one_thing() -> None:
    configs = variant_configs(tiny(), (*VARIANTS, *CANDIDATES))
    assert list(variant_configs(tiny())) == list(VARIANTS)
    changed = {}
    for name in CANDIDATES:
        base = configs[name.split("+")[0]]
        changed[name] = first_difference(to_dict(base), to_dict(configs[name]), "config")
    assert {name: str(text).split(":")[0].split()[0] for name, text in changed.items()} == {
        "B+weights": "config.decoupling.loss_weight",
        "B+growth": "config.decoupling.growth_weight",
        "B+frames": "config.decoupling.frame_weight",
        "B+still": "config.training.losses.stillness",
        "visible+weights": "config.decoupling.loss_weight",
        "visible+still": "config.training.losses.stillness",
        "visible+gate": "config.field.dynamic_gate",
        "visible+hidden": "config.fusion.hidden_only",
        "visible+robust": "config.decoupling.reference",
        "visible+learned": "config.decoupling.reference",
        "visible+segments": "config.decoupling.segments",
    }
    assert set(RULES) == {config.fusion.rule for config in configs.values() if config.fusion}


def test_a_reduced_set_has_fewer_views_and_frames(benchmark: ModuleType, sample_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "unused.npy", np.zeros(3))
    part = benchmark.reduced_set(sample_folder, tmp_path / "part" / "views", 2, 3)
    whole = benchmark.reduced_set(sample_folder, tmp_path / "whole" / "views", 6, 0)
    scene = AblationScene("views", part, "held-out views", True)
    video = load_training_views(scene, FolderConfig())
    full = load_training_views(replace(scene, data=whole), FolderConfig())
    assert (video.num_times, video.num_views) == (3, 3) and (full.num_times, full.num_views) == (6, 7)
    assert video.times.tolist() == pytest.approx([0, 0.5, 1])
    for view, same in ((0, 0), (1, 1), (2, 4)):
        assert np.array_equal(video.frames.read(2, view), full.frames.read(2, same))
    test = read_transforms(part / "transforms_test.json")
    assert len(test) == 12 and max(frame.time for frame in test) == 1 and all(frame.image.is_file() for frame in test)


def options(out: Path, *words: str | Path) -> list[str]:
    tail = ["--seeds", "1", "--preset", "tiny", "--size", "32", "--steps", "6", "--device", "cpu"]
    return [*map(str, words), "-o", str(out), *tail]


def test_a_killed_command_continues(
    benchmark: ModuleType,
    no_weights: None,
    sample_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real fits of a few steps at 32 px; the second run makes the one that is missing and no other."""
    monkeypatch.setitem(PRESETS, "tiny", lambda: replace(tiny(), init=SMALL))
    out = tmp_path / "out"
    argv = options(out, sample_folder, "--axes", "center", "--variants", "B", "visible+gate", "--lpips-weight", "0.2")
    assert benchmark.main(argv) == 0
    folder = out / benchmark.CENTER.name
    cells = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    assert [cell["variant"] for cell in cells] == ["B", "visible+gate"]
    assert all(cell["lpips_stand_in"] and cell["rows"] == 12 and cell["seed"] == 0 for cell in cells)
    assert all(cell["psnr"] > 5 and cell["lpips_random"] > 0 and cell["lpips"] is None for cell in cells)
    results = {result.variant: result for result in read_results(folder)}
    assert "VGG16" in results["B"].not_computed["lpips"]
    kept = (folder / "results" / "views-B-seed0.json").stat().st_mtime_ns
    (folder / "results" / "views-visible+gate-seed0.json").unlink()
    whole = (out / "cells.jsonl").read_text()
    (out / "cells.jsonl").write_text(whole[:-20])  # killed within a line
    assert benchmark.main(argv) == 0
    assert (folder / "results" / "views-B-seed0.json").stat().st_mtime_ns == kept
    again = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    assert [cell["variant"] for cell in again] == ["B", "visible+gate"]
    assert again[1]["psnr"] == cells[1]["psnr"] and again[1]["psnr"] != again[0]["psnr"]
    text = (out / "summary.md").read_text()
    assert "stand-in" in text and "| visible+gate |" in text
    assert benchmark.main([*argv, "--lpips-weight", "0.1"]) == 2
    assert "lpips" in capsys.readouterr().err  # other settings are refused, not mixed


def test_every_axis_changes_one_thing(benchmark: ModuleType) -> None:
    conditions = [condition for axis in benchmark.AXES.values() for condition in axis]
    assert len({condition.name for condition in conditions}) == len(conditions)
    for axis, changed in benchmark.AXES.items():
        for condition in changed:
            different = {
                name for name in vars(condition) if getattr(condition, name) != getattr(benchmark.CENTER, name)
            }
            assert different == (set() if axis == "center" else {axis})


@pytest.fixture
def results_of() -> Callable[..., list[Result]]:
    def make(**gains: tuple[float, float, float]) -> list[Result]:
        """psnr, psnr_dynamic and still_flicker of B on two scenes, and of `ours` after its gains by scene."""
        made = []
        for scene, (psnr, dynamic, flicker) in {"b0": (0.0, 0.0, 0.0), **gains}.items():
            name, variant = (scene[1:], "B") if scene.startswith("b") else (scene, "ours")
            for place in ("0", "1") if variant == "B" else (name[1:],):
                metrics = {"psnr": 20 + psnr, "psnr_dynamic": 15 + dynamic, "still_flicker": 3 + flicker}
                made.append(Result(place, "held-out views", variant, 0, {}, metrics, 1.0, 10))
        return made

    return make


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({"s0": (0.0, 0.6, 0.0), "s1": (0.0, 0.5, 0.0)}, True),
        ({"s0": (0.0, 2.0, 0.0), "s1": (0.0, -0.1, 0.0)}, False),  # not on every scene
        ({"s0": (0.0, 0.3, 0.0), "s1": (0.0, 0.3, 0.0)}, False),
        ({"s0": (-0.05, 0.0, -1.2), "s1": (-0.05, 0.0, -1.0)}, True),
        ({"s0": (-0.5, 0.0, -1.2), "s1": (-0.5, 0.0, -1.0)}, False),  # at the cost of quality
        ({"s0": (0.0, 0.0, -0.5), "s1": (0.0, 0.0, -0.5)}, False),
    ],
)
def test_what_pays(
    benchmark: ModuleType,
    results_of: Callable[..., list[Result]],
    gains: dict[str, tuple[float, float, float]],
    expected: bool,
) -> None:
    assert benchmark.pays(results_of(**gains), "ours") is expected
