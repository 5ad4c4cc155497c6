"""`ds4d ablate`, with a stand-in for the fits."""

import json
import math
import os
import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.ablation import AblationScene
from ds4d.ablation.scenes import Score
from ds4d.cli.commands import ablate
from ds4d.config import GenerateConfig
from ds4d.presets import PRESETS


def score(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
    if config.init.method == "random" and config.seed == 1:
        raise RuntimeError("diverged")
    rule = config.fusion.rule if config.fusion else "none"
    value = 20.0 + config.seed + {"none": 0, "input": 1, "visible": 2}[rule]
    return Score({"psnr": value, "psnr_dynamic": value - 3, "input_psnr": 30.0}, 14.0, 7)


@pytest.fixture(autouse=True)
def _no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "fit_scene", score)


def test_the_table_is_printed_and_written(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    argv = ["ablate", sample_folder, "-o", tmp_path, "--variants", "B", "E", "ours", "--seeds", 2, "--device", "cpu"]
    done = ds4d(*argv)
    assert done.code == 0
    lines = done.err.splitlines()
    assert lines[0] == "6 fits" and len(lines) == 7
    assert lines[1].startswith("fit 1 of 6: views B seed 0: psnr_dynamic 17.0, 14 s, about ")
    assert lines[6] == "fit 6 of 6: views ours seed 1: psnr_dynamic 20.0, 14 s"
    assert "| psnr_dynamic" in done.out and f"wrote {tmp_path / 'table.png'}" in done.out
    assert (tmp_path / "table.md").read_text() in done.out
    assert done.out.splitlines()[-1].startswith("next: open ") and "table.png" in done.out.splitlines()[-1]
    settings = json.loads((tmp_path / "results" / "views-E-seed1.json").read_text())["settings"]
    assert settings["preset"]["views"]["size"] == PRESETS["cpu"]().views.size
    again = ds4d(*argv)
    assert len(again.err.splitlines()) == 1 and "6 of them" in again.err and again.out == done.out


def test_without_data_only_the_table_is_written(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    assert ds4d("ablate", sample_folder, "-o", tmp_path, "--variants", "B", "E", "--seeds", 1).code == 0
    for path in tmp_path.glob("table.*"):
        path.unlink()
    done = ds4d("ablate", "-o", tmp_path, "--base", "E")
    assert done.code == 0 and done.err == "" and "Differences from E" in done.out
    assert {path.name for path in tmp_path.glob("table.*")} == {"table.json", "table.md", "table.png"}
    empty = ds4d("ablate", "-o", tmp_path / "new")
    assert empty.code == 2 and str(tmp_path / "new") in empty.err


def test_size_and_steps_apply_to_all_variants(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    argv = ["ablate", sample_folder, "-o", tmp_path, "--variants", "B", "--seeds", 1, "--preset", "fast"]
    assert ds4d(*argv, "--size", 96, "--steps", 130).code == 0
    settings = json.loads((tmp_path / "results" / "views-B-seed0.json").read_text())["settings"]
    for name in ("preset", "variant"):
        assert settings[name]["views"]["size"] == 96
        assert (settings[name]["training"]["static_steps"], settings[name]["training"]["dynamic_steps"]) == (30, 100)


def test_missing_weights_are_refused_or_allowed(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    argv = ["ablate", sample_folder, "-o", tmp_path, "--preset", "paper", "--variants", "B", "--seeds", 1]
    done = ds4d(*argv, "--device", "cpu")
    assert done.code == 2 and "DINOv2" in done.err and "VGG16" in done.err and not list(tmp_path.iterdir())
    done = ds4d(*argv, "--device", "cpu", "--allow-missing-weights")
    assert done.code == 0 and "ds4d: degraded: " in done.err
    (result,) = (json.loads(path.read_text()) for path in (tmp_path / "results").iterdir())
    settings = result["settings"]["variant"]
    assert settings["training"]["losses"]["lpips"]["weight"] == 0 and settings["features"]["kind"] == "filters"


def test_failed_fits_are_an_error_beside_the_table(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    done = ds4d("ablate", sample_folder, "-o", tmp_path, "--variants", "A", "B", "--seeds", 2)
    assert done.code == 1
    assert "fit 3 of 4: views-A-seed1 failed: RuntimeError: diverged" in done.err
    assert "ds4d: error: 1 fit failed" in done.err and str(tmp_path / "failures") in done.err
    assert re.search(r"\| fits +\| +1/2 \| +2/2 \|", done.out)


@pytest.mark.parametrize(("variants", "start"), [(["A"], "next: "), (["A", "B", "--base", "A"], "no table: --base")])
def test_failed_fits_are_an_error_without_a_table(
    ds4d: Callable,
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variants: list[str],
    start: str,
) -> None:
    def fail(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
        return score(scene, replace(config, seed=1), device)

    monkeypatch.setattr(ablate, "fit_scene", fail)
    done = ds4d("ablate", sample_folder, "-o", tmp_path, "--seeds", 1, "--variants", *variants)
    assert done.code == 1 and "1 fit failed" in done.err
    assert done.out.startswith(start)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--variants", "B", "C"], "--variants"),
        (["--seeds", "0"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
        (["--steps", "-1"], "--steps"),
        (["--hold-out"], "hold-out"),
    ],
)
def test_invalid_options_are_refused_before_any_fit(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, options: list[str], name: str
) -> None:
    done = ds4d("ablate", sample_folder, "-o", tmp_path / "out", *options)
    assert done.code == 2 and name in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_keep_finished_fits(
    ds4d: Callable,
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interruptible: None,
    number: signal.Signals,
    code: int,
) -> None:
    def stopped(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
        if config.seed == 1:
            os.kill(os.getpid(), number)
        return Score({"psnr": 20.0, "psnr_dynamic": math.nan, "input_psnr": 30.0}, 1.0, 7)

    monkeypatch.setattr(ablate, "fit_scene", stopped)
    before = signal.getsignal(signal.SIGTERM)
    argv = ["ablate", str(sample_folder), "-o", str(tmp_path), "--variants", "B", "--seeds", "3"]
    done = ds4d(*argv)
    assert done.code == code and "psnr 20.0, 1 s" in done.err and "ds4d: error: " in done.err
    assert done.out == f"next: {shlex.join(['ds4d', *argv])}\n"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["views-B-seed0.json"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_metrics_without_weights_are_listed(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_further(scene: AblationScene, config: GenerateConfig, device: torch.device, further: dict) -> Score:
        assert further == {"views": ("clip", "detail_ratio")}
        values = {"psnr": 20.0, "psnr_dynamic": 17.0, "input_psnr": 30.0, "clip": math.nan, "detail_ratio": 0.875}
        return Score(values, 14.0, 7, {"clip": "weights are missing"})

    monkeypatch.setattr(ablate, "fit_scene", with_further)
    argv = ["ablate", sample_folder, "-o", tmp_path, "--variants", "B", "--seeds", 1]
    done = ds4d(*argv, "--metrics", "clip", "detail_ratio")
    assert done.code == 0 and re.search(r"\| detail_ratio +\| +0\.8750 \|", done.out)
    assert "- clip: weights are missing" in done.out
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["not_computed"] == {"clip": "weights are missing"}
    assert table["tables"][0]["means"]["clip"]["B"]["mean"] is None
    assert ds4d(*argv, "--metrics", "clop").code == 2
    assert ds4d(*argv, "--metrics", "clip", "--protocol", "tracks").code == 2
