"""`ds4d ablate` as users call it, with a stand-in for the fits."""

import json
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ds4d.ablation import AblationScene
from ds4d.ablation.scenes import Score
from ds4d.cli import ablate
from ds4d.config import GenerateConfig
from ds4d.presets import PRESETS


def metrics(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
    if config.init.method == "random" and config.seed == 1:
        raise RuntimeError("diverged")
    rule = config.fusion.rule if config.fusion else "none"
    value = 20.0 + config.seed + {"none": 0, "input": 1, "visible": 2}[rule]
    return Score({"psnr": value, "psnr_dynamic": value - 3, "input_psnr": 30.0}, 14.0, 7)


@pytest.fixture(autouse=True)
def _no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "fit_scene", metrics)


def test_the_table_is_shown_and_written(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    words = ["ablate", sample_folder, "-o", tmp_path, "--variants", "B", "E", "ours", "--seeds", 2, "--device", "cpu"]
    outcome = ds4d(*words)
    assert outcome.status == 0
    said = outcome.err.splitlines()
    assert said[0] == "6 fits"
    assert said[1].startswith("fit 1 of 6: views B seed 0 ... psnr_dynamic 17.0, 14 s, about ")
    assert said[6] == "fit 6 of 6: views ours seed 1 ... psnr_dynamic 20.0, 14 s"
    assert "| psnr_dynamic" in outcome.out and f"wrote {tmp_path / 'table.png'}" in outcome.out
    assert (tmp_path / "table.md").read_text() in outcome.out
    look = f"next: {sys.executable} -m webbrowser {(tmp_path / 'table.png').as_uri()}"
    assert outcome.out.splitlines()[-1] == look
    settings = json.loads((tmp_path / "results" / "views-E-seed1.json").read_text())["settings"]
    assert settings["preset"]["views"]["size"] == PRESETS["cpu"]().views.size
    again = ds4d(*words)
    assert again.err.splitlines() == ["6 fits, 6 of them finished already"] and again.out == outcome.out


def test_without_data_only_the_table_is_made(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    assert ds4d("ablate", sample_folder, "-o", tmp_path, "--variants", "B", "E", "--seeds", 1).status == 0
    for path in tmp_path.glob("table.*"):
        path.unlink()
    outcome = ds4d("ablate", "-o", tmp_path, "--base", "E")
    assert outcome.status == 0 and outcome.err == "" and "Differences from E" in outcome.out
    assert {path.name for path in tmp_path.glob("table.*")} == {"table.json", "table.md", "table.png"}
    nothing = ds4d("ablate", "-o", tmp_path / "new")
    assert nothing.status == 2 and "must hold results of an ablation, got none" in nothing.err


def test_size_and_steps_change_all_variants(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    words = ["ablate", sample_folder, "-o", tmp_path, "--variants", "B", "--seeds", 1, "--preset", "fast"]
    assert ds4d(*words, "--size", 96, "--steps", 130).status == 0
    settings = json.loads((tmp_path / "results" / "views-B-seed0.json").read_text())["settings"]
    for name in ("preset", "variant"):
        assert settings[name]["views"]["size"] == 96
        assert (settings[name]["training"]["static_steps"], settings[name]["training"]["dynamic_steps"]) == (30, 100)


def test_failed_fits_are_reported_and_the_others_kept(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("ablate", sample_folder, "-o", tmp_path, "--variants", "A", "B", "--seeds", 2)
    assert outcome.status == 1
    assert "fit 3 of 4: views-A-seed1 failed: RuntimeError: diverged" in outcome.err
    assert f"1 fit failed. See {tmp_path / 'failures'}" in outcome.err
    assert re.search(r"\| fits +\| +1/2 \| +2/2 \|", outcome.out)


@pytest.mark.parametrize(("variants", "shown"), [(["A"], "next: "), (["A", "B", "--base", "A"], "no table: --base")])
def test_failed_fits_are_reported_without_a_table(
    ds4d: Callable,
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variants: list[str],
    shown: str,
) -> None:
    def fail(scene: AblationScene, config: GenerateConfig, device: torch.device) -> Score:
        return metrics(scene, replace(config, seed=1), device)

    monkeypatch.setattr(ablate, "fit_scene", fail)
    outcome = ds4d("ablate", sample_folder, "-o", tmp_path, "--seeds", 1, "--variants", *variants)
    assert outcome.status == 1 and "1 fit failed." in outcome.err
    assert outcome.out.startswith(shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variants", "B", "C"], "--variants must be of A"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--steps", "-1"], "dynamic_steps must be at least 0"),
        (["--hold-out"], "--hold-out needs"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_fitted(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    outcome = ds4d("ablate", sample_folder, "-o", tmp_path / "out", *words)
    assert outcome.status == 2 and message in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_unwinds_the_run_and_the_same_command_goes_on(
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
    words = ["ablate", str(sample_folder), "-o", str(tmp_path), "--variants", "B", "--seeds", "3"]
    outcome = ds4d(*words)
    assert outcome.status == code and "psnr 20.0, 1 s" in outcome.err and "finished fits are kept" in outcome.err
    assert outcome.out == f"next: {shlex.join(['ds4d', *words])}\n"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["views-B-seed0.json"]
    assert signal.getsignal(signal.SIGTERM) is before
