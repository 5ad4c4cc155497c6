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

from ds4d.ablation import Case
from ds4d.ablation.cases import Score
from ds4d.cli import ablate
from ds4d.config import GenerateConfig
from ds4d.presets import PRESETS


def metrics(case: Case, config: GenerateConfig, device: torch.device) -> Score:
    if config.init.method == "random" and config.seed == 1:
        raise RuntimeError("out of luck")
    rule = config.fusion.rule if config.fusion else "none"
    value = 20.0 + config.seed + {"none": 0, "front": 1, "visible": 2}[rule]
    return Score({"psnr": value, "psnr_dynamic": value - 3, "input_psnr": 30.0}, 14.0, 7)


@pytest.fixture(autouse=True)
def _no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "fit_case", metrics)


def test_the_table_is_shown_and_written(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    words = ["ablate", sample_folder, "-o", tmp_path, "--rows", "B", "E", "ours", "--seeds", 2, "--device", "cpu"]
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
    assert again.err.splitlines() == ["6 fits, 6 of them there already"] and again.out == outcome.out


def test_without_data_only_the_table_is_made(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    assert ds4d("ablate", sample_folder, "-o", tmp_path, "--rows", "B", "E", "--seeds", 1).status == 0
    for path in tmp_path.glob("table.*"):
        path.unlink()
    outcome = ds4d("ablate", "-o", tmp_path, "--base", "E")
    assert outcome.status == 0 and outcome.err == "" and "Differences to E" in outcome.out
    assert {path.name for path in tmp_path.glob("table.*")} == {"table.json", "table.md", "table.png"}
    nothing = ds4d("ablate", "-o", tmp_path / "new")
    assert nothing.status == 2 and "must hold results of an ablation, got none" in nothing.err


def test_size_and_steps_change_what_all_rows_share(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    words = ["ablate", sample_folder, "-o", tmp_path, "--rows", "B", "--seeds", 1, "--preset", "fast"]
    assert ds4d(*words, "--size", 96, "--steps", 130).status == 0
    settings = json.loads((tmp_path / "results" / "views-B-seed0.json").read_text())["settings"]
    for name in ("preset", "row"):
        assert settings[name]["views"]["size"] == 96
        assert (settings[name]["fit"]["static_steps"], settings[name]["fit"]["dynamic_steps"]) == (30, 100)


def test_failing_fits_are_said_and_the_rest_stands(ds4d: Callable, sample_folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("ablate", sample_folder, "-o", tmp_path, "--rows", "A", "B", "--seeds", 2)
    assert outcome.status == 1
    assert "fit 3 of 4: views-A-seed1 failed: RuntimeError: out of luck" in outcome.err
    assert f"1 fit failed; why stands in {tmp_path / 'failures'}" in outcome.err
    assert re.search(r"\| fits +\| +1/2 \| +2/2 \|", outcome.out)


@pytest.mark.parametrize(
    ("rows", "shown"), [(["A"], "next: "), (["A", "B", "--base", "A"], "no table: base must be a row that has results")]
)
def test_where_a_table_cannot_be_made_of_what_is_left_failing_fits_are_said_all_the_same(
    ds4d: Callable, sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[str], shown: str
) -> None:
    def fail(case: Case, config: GenerateConfig, device: torch.device) -> Score:
        return metrics(case, replace(config, seed=1), device)

    monkeypatch.setattr(ablate, "fit_case", fail)
    outcome = ds4d("ablate", sample_folder, "-o", tmp_path, "--seeds", 1, "--rows", *rows)
    assert outcome.status == 1 and "1 fit failed; why stands in" in outcome.err
    assert outcome.out.startswith(shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "B", "C"], "rows must be of A (random"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--jobs", "0"], "jobs must be at least 1"),
        (["--steps", "-1"], "dynamic_steps must lie in [0, inf)"),
        (["--hold-out"], "hold-out must not be set"),
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
    def stopped(case: Case, config: GenerateConfig, device: torch.device) -> Score:
        if config.seed == 1:
            os.kill(os.getpid(), number)
        return Score({"psnr": 20.0, "psnr_dynamic": math.nan, "input_psnr": 30.0}, 1.0, 7)

    monkeypatch.setattr(ablate, "fit_case", stopped)
    before = signal.getsignal(signal.SIGTERM)
    words = ["ablate", str(sample_folder), "-o", str(tmp_path), "--rows", "B", "--seeds", "3"]
    outcome = ds4d(*words)
    assert outcome.status == code and "psnr 20.0, 1 s" in outcome.err and "fits that were done are kept" in outcome.err
    assert outcome.out == f"next: {shlex.join(['ds4d', *words])}\n"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["views-B-seed0.json"]
    assert signal.getsignal(signal.SIGTERM) is before
