"""Ctrl-C and SIGTERM: a checkpoint is saved, the exit code names the signal, and the run can be resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.cli import run_display
from ds4d.cli.commands import generate
from ds4d.cli.console import Console
from ds4d.cli.signals import StopSignals
from ds4d.core import Progress
from ds4d.pipeline import FileWritten
from ds4d.training import read_log

PATIENCE = 120  # seconds until a process that does nothing is a failure


@pytest.mark.usefixtures("interruptible")
def test_the_second_signal_acts_at_once() -> None:
    lines: list[str] = []
    with StopSignals(lines.append) as stop:
        assert stop.received is None and not lines
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received is signal.SIGINT
        assert len(lines) == 1 and "SIGINT" in lines[0]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_saves_a_checkpoint(quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    argv = [sys.executable, "-m", "ds4d", "generate", str(sample_folder), "-o", str(run), *quick]
    argv += ["--training.dynamic-steps", "1000000", "--log.every", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    assert "ds4d: error: stopped by SIGTERM" in err and "Traceback" not in err
    assert out.startswith("next: ds4d generate ") and out.endswith(" --resume\n")
    assert (run / "checkpoints" / "last.safetensors").is_file()
    assert not (run / "scene.json").exists()


def test_sigterm_leaves_no_partial_file(
    ds4d: Callable, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(console: Console, progress: Progress, note: str = "") -> None:
        if progress.work == "video.mp4" and progress.done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Console, "progress", stop)
    before = signal.getsignal(signal.SIGTERM)
    argv = ["--azimuth", 0, "--size", 32, "--fps", 6, "--seconds", 1, "-o", tmp_path / "video.mp4", "--json"]
    done = ds4d("render", finished_run, *argv)
    record = json.loads(done.out)
    assert done.code == record["exit_code"] == 143 and "SIGTERM" in record["error"]
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) is before


def test_a_run_stopped_by_ctrl_c_resumes_at_its_step(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["generate", sample_folder, "-o", tmp_path / "run", *quick]
    original = run_display.describe_step

    def interrupt(event) -> str:
        if event.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(event)

    monkeypatch.setattr(run_display, "describe_step", interrupt)
    done = ds4d(*argv, "--quiet")
    assert (done.code, done.out) == (130, "")
    assert done.err.startswith("ds4d: error: stopped by SIGINT") and done.err.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "200")
    steps: list[int] = []
    monkeypatch.setattr(run_display, "describe_step", lambda event: steps.append(event.step) or "")
    assert ds4d(*argv, "--resume").code == 0
    assert steps == [4, 5, 6]
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_files_written_before_a_stop_are_listed(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event, console) -> None:
        if isinstance(event, FileWritten) and event.path.name == "orbit.mp4":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(generate, "show_event", interrupt)
    done = ds4d("generate", sample_folder, "-o", tmp_path / "run", *quick)
    assert done.code == 143
    names = ["scene.safetensors", "contact_sheet.png", "comparison.mp4", "orbit.mp4"]
    assert done.out.splitlines()[:-1] == [f"wrote {tmp_path / 'run' / name}" for name in names]
    assert done.out.splitlines()[-1].endswith(" --resume")
