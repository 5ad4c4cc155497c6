"""Ctrl-C and SIGTERM: a checkpoint is saved, the exit status says which signal it was, and the run can go on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.cli import generate, run_events
from ds4d.cli.interruption import StopSignals
from ds4d.cli.screen import Screen
from ds4d.core import Progress
from ds4d.pipeline import FileWritten
from ds4d.training import read_log

PATIENCE = 120  # seconds until a process that does nothing is a failure


@pytest.mark.usefixtures("interruptible")
def test_the_first_signal_is_a_wish_and_the_second_an_order() -> None:
    said: list[str] = []
    with StopSignals(said.append) as stop:
        assert stop.received is None and not said
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received is signal.SIGINT
        assert said == ["\nSIGINT: stopping at the next step; once more stops at once"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_terminated_process_leaves_a_checkpoint(quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [sys.executable, "-m", "ds4d", "generate", str(sample_folder), "-o", str(run), *quick]
    words += ["--training.dynamic-steps", "1000000", "--log.every", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(read_log(run / "log.jsonl")) < 5:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM: stopping at the next step" in err and "Traceback" not in err
    assert "ds4d: error: stopped by SIGTERM; what was fitted is saved." in err
    assert out.startswith("next: ds4d generate ") and out.endswith(" --resume\n")
    assert (run / "checkpoints" / "last.safetensors").is_file()
    assert not (run / "scene.json").exists()


def test_a_terminated_command_says_so_and_leaves_no_half_file(
    ds4d: Callable, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(screen: Screen, progress: Progress, note: str = "") -> None:
        if progress.work == "video.mp4" and progress.done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Screen, "progress", stop)
    before = signal.getsignal(signal.SIGTERM)
    words = ["--azimuth", 0, "--size", 32, "--fps", 6, "--seconds", 1, "-o", tmp_path / "video.mp4", "--json"]
    outcome = ds4d("render", finished_run, *words)
    answer = json.loads(outcome.out)
    assert outcome.status == answer["exit_code"] == 143 and answer["error"] == "stopped by SIGTERM"
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_stops_a_run_that_resumes(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", sample_folder, "-o", tmp_path / "run", *quick]
    input = run_events.describe

    def interrupt(event) -> str:
        if event.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return input(event)

    monkeypatch.setattr(run_events, "describe", interrupt)
    outcome = ds4d(*words, "--quiet")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err == "ds4d: error: stopped by SIGINT; what was fitted is saved.\n"
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "200")
    steps: list[int] = []
    monkeypatch.setattr(run_events, "describe", lambda event: steps.append(event.step) or "")
    assert ds4d(*words, "--resume").status == 0
    assert steps == [4, 5, 6]
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_what_was_written_before_a_stop_is_named(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event, screen) -> None:
        if isinstance(event, FileWritten) and event.path.name == "orbit.mp4":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(generate, "show", interrupt)
    outcome = ds4d("generate", sample_folder, "-o", tmp_path / "run", *quick)
    assert outcome.status == 143
    names = ["scene.safetensors", "contact_sheet.png", "comparison.mp4", "orbit.mp4"]
    assert outcome.out.splitlines()[:-1] == [f"wrote {tmp_path / 'run' / name}" for name in names]
    assert outcome.out.splitlines()[-1].endswith(" --resume")
