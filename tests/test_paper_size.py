"""benchmarks/paper_size.py: networks of the real sizes, every stage on tiny ones, fixes, continuation."""

import argparse
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ds4d.cli.commands.generate import COMMAND
from ds4d.weights import MODELS
from ds4d.weights.search import problems

pytest.importorskip("diffusers", reason="needs diffusers (pip install '.[priors]')")
pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
ROOT = Path(__file__).resolve().parents[1]
TINY = ["--device", "cpu", "--tiny", "--frames", "3", "--steps", "4", "--view-steps", "1"]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("paper_size", ROOT / "benchmarks" / "paper_size.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["paper_size"] = module  # where its dataclasses look up their annotations
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (lambda b: b._unet(False, use_linear_projection=True, attention_head_dim=(5, 10, 20, 20),
                           cross_attention_dim=1024), 865.9),
        (lambda b: b._unet(False, in_channels=8, attention_head_dim=8, cross_attention_dim=768), 859.5),
        (lambda b: b._vae(False), 83.7),
        (lambda b: b._clip_vision(False, width=1280, layers=32, projection=1024), 632.1),
        (lambda b: b._clip_vision(False, width=1024, layers=24, projection=768), 304.0),
        (lambda b: b._clip_text(False), 340.4),
    ],
    ids=["unet of Stable Diffusion 2", "unet of Zero123-XL", "vae", "ViT-H/14", "ViT-L/14", "text"],
)  # fmt: skip
def test_networks_have_the_published_number_of_parameters(benchmark: ModuleType, make, millions: float) -> None:
    with torch.device("meta"):
        network = make(benchmark)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.fixture(scope="module")
def tiny_args(
    benchmark: ModuleType, sample_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> argparse.Namespace:
    args = benchmark.read_arguments([str(sample_folder), "-o", str(tmp_path_factory.mktemp("sizes")), *TINY])
    benchmark.make_weights(args.out / "weights", args.version, is_tiny=True)
    return args


def test_networks_are_in_the_real_layout(tiny_args: argparse.Namespace) -> None:
    for name in ("zero123plus-v1.1", "zero123-xl", "vgg16", "lpips-vgg", "dinov2-large"):
        found = [line for line in problems(MODELS[name], tiny_args.out / "weights" / name) if "hidden_size" not in line]
        assert not found, name  # a tiny DINOv2 is not of the width of the large one


def test_each_stage_runs_with_its_networks(
    benchmark: ModuleType, tiny_args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(tiny_args.out / "weights"))
    parts = {"views": {"views"}, "features": {"features"}, "fit": {"init", "steps", "outputs"}}
    for stage, names in parts.items():
        measured = benchmark.attempt(tiny_args, stage, 8.0, "")
        assert not measured.error and names <= set(measured.seconds) and names == set(measured.peak_gb), stage
    assert measured.seconds["per_step"] > 0 and measured.seconds["per_late_step"] > 0
    last = list(benchmark.FIXES["views"])[-1]
    assert not benchmark.attempt(tiny_args, "views", 8.0, last).error


def test_the_fit_has_all_losses_of_the_paper(
    benchmark: ModuleType, tiny_args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS4D_WEIGHTS", str(tiny_args.out / "weights"))
    made = []
    original = benchmark.prepare
    monkeypatch.setattr(benchmark, "prepare", lambda *words: made.append(original(*words)) or made[-1])
    benchmark.attempt(tiny_args, "fit", 8.0, "")
    (trainer,) = made
    assert trainer.guide is not None and trainer.objective.uses_lpips and trainer.step == 4
    assert trainer.video.num_times == 3 and trainer.scene.motion.tssf is not None


def test_fixes_are_options_that_exist(benchmark: ModuleType, tiny_args: argparse.Namespace) -> None:
    config = benchmark.config_of(tiny_args, tiny_args.out / "weights")
    for stage, fixes in benchmark.FIXES.items():
        assert next(iter(fixes)) == "" and stage in benchmark.STAGES
        for option, change in fixes.items():
            assert (change(config) == config) == (option == "")
            COMMAND.parse(["input", "-o", "run", *option.split()])


def test_running_out_of_memory_is_recorded(
    benchmark: ModuleType, tiny_args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*words: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 9 GB\nmore")

    monkeypatch.setitem(benchmark.STAGES, "views", run_out)
    assert benchmark.attempt(tiny_args, "views", 8.0, "").error == "out of memory: tried to allocate 9 GB"


def test_fixes_are_tried_until_one_fits_and_nothing_is_measured_twice(
    benchmark: ModuleType, sample_folder: Path, tmp_path: Path
) -> None:
    args = benchmark.read_arguments([str(sample_folder), "-o", str(tmp_path), "--budgets", "8", "24"])
    ran = []

    def stand_in(args: argparse.Namespace, stage: str, budget: float, option: str):
        ran.append((stage, budget, option))
        fits = budget > 8 or stage == "features" or "offload" in option
        error = "" if fits else "out of memory: too much"
        return benchmark.Measured(stage, budget, option, {"steps": 1.5}, {"steps": budget - 1}, {}, error)

    found = benchmark.measure(args, stand_in)
    views, fit = list(benchmark.FIXES["views"]), list(benchmark.FIXES["fit"])
    expected = [("views", 8, views[0]), ("views", 8, views[1]), ("features", 8, "")]
    expected += [("fit", 8, option) for option in fit]
    assert ran == expected + [(stage, 24, "") for stage in ("views", "features", "fit")]
    text = "\n".join(benchmark.table(found, {"tiny": False}))
    assert f"| 8 | views | steps 1.5 | steps 7.0 | `{views[1]}` |" in text and "| 8 | fit | - | - | none fits" in text
    path = tmp_path / "sizes.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-30])  # killed within a line
    ran.clear()
    assert benchmark.measure(args, stand_in) == found and ran == [("fit", 24, "")]
    assert [json.loads(line)["stage"] for line in path.read_text().splitlines()] == [each.stage for each in found]
    assert replace(found[0]) == benchmark.read_measured(path)[0]


def test_a_process_that_fails_for_another_reason_than_memory_ends_the_command(
    benchmark: ModuleType, tiny_args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(status: int):
        return lambda words, **_: subprocess.CompletedProcess(words, status, stdout="")

    monkeypatch.setattr(benchmark.subprocess, "run", ended(-9))
    assert "signal 9" in benchmark.in_new_process(tiny_args, "views", 8.0, "").error
    monkeypatch.setattr(benchmark.subprocess, "run", ended(1))
    with pytest.raises(RuntimeError, match="views"):
        benchmark.in_new_process(tiny_args, "views", 8.0, "")
