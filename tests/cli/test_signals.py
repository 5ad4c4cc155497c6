"""Ctrl-C and SIGTERM: a checkpoint is saved, the exit code names the signal, and the run can be resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from ds4d.cli import COMMANDS, app, displays, run_display
from ds4d.cli.commands import generate
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome
from ds4d.cli.signals import Interrupts, StopSignals
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


# Runs the program in a process that sends itself signals when a module is imported, and once more when it prints.
SELF_INTERRUPTING = """
import os, signal, sys
number, module, times = int(sys.argv.pop(1)), sys.argv.pop(1), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    sent = False
    def find_spec(self, name, path=None, target=None):
        if name == module and not self.sent:
            self.sent = True
            for _ in range(times):
                os.kill(os.getpid(), number)

class Stream:
    def __init__(self, stream):
        self.stream, self.sent = stream, times < 2
    def write(self, text):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), number)
        return self.stream.write(text)
    def __getattr__(self, name):
        return getattr(self.stream, name)

sys.meta_path.insert(0, Finder())
sys.stderr = Stream(sys.stderr)
from ds4d.__main__ import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "times"), [("ds4d.cli", 1), ("ds4d.cli.console", 1), ("torch", 2), ("ds4d.cli.commands.generate", 2)]
)
def test_signals_during_imports_end_with_a_sentence(number: signal.Signals, module: str, times: int) -> None:
    argv = [sys.executable, "-c", SELF_INTERRUPTING, str(int(number)), module, str(times), "generate", "x", "-o", "y"]
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr.startswith("ds4d: error: ") and done.stderr.count("\n") == 1
    if module != "ds4d.cli":  # what prints JSON is not there yet
        record = json.loads(done.stdout)
        assert (record["command"], record["exit_code"]) == ("generate", 128 + number) and record["error"]
        assert record.keys() >= {"result", "files", "next", "degradations", "warnings", "seconds"}


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("becomes", [None, ImportError, SystemError])
def test_every_command_says_that_it_was_interrupted(
    ds4d: Callable, monkeypatch: pytest.MonkeyPatch, command: str, number: signal.Signals, becomes: type | None
) -> None:
    """Also where a package turns the interruption into an error of its own."""

    def interrupt(name: str) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(PATIENCE)
        except BaseException as error:
            if becomes is None:
                raise
            raise becomes("multiarray failed to import") from error

    monkeypatch.setattr(app, "import_module", interrupt)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    done = ds4d(command, "--json")
    assert done.code == json.loads(done.out)["exit_code"] == 128 + number
    assert done.err.startswith("ds4d: error: ") and done.err.count("\n") == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Destructible:
    """Python drops what is raised while this is destroyed."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        time.sleep(0.05)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_is_not_lost(
    ds4d: Callable, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The work ends at its next step of progress."""
    seen: list[int] = []

    def progress(self: displays.Lines, progress: Progress, note: str = "") -> None:
        if progress.work == "video.mp4":
            seen.append(progress.done)
        if seen and seen[-1] == 3:
            Destructible(number)

    monkeypatch.setattr(displays.Lines, "progress", progress)
    argv = ["--azimuth", 0, "--size", 32, "--fps", 6, "--seconds", 2, "-o", tmp_path / "video.mp4"]
    done = ds4d("render", finished_run, *argv)
    assert done.code == 128 + number and seen == [0, 1, 2, 3]
    assert "Exception ignored" not in done.err and done.err.count("ds4d: error") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("interruptible")
def test_a_signal_that_was_lost_until_the_end_decides_the_exit_code(
    ds4d: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], console: Console) -> Outcome:
        Destructible(signal.SIGTERM)
        return Outcome("done", files=[Path("kept.txt")])

    command = SimpleNamespace(COMMAND=SimpleNamespace(naming_options=nullcontext), run=run)
    monkeypatch.setattr(app, "import_module", lambda name: command)
    done = ds4d("info", "--json")
    assert done.code == 143 and json.loads(done.out)["files"] == ["kept.txt"]


@pytest.mark.usefixtures("interruptible")
def test_two_signals_at_once_are_one() -> None:
    """A terminal and `timeout` may send one to the process and to its group: what cleans up must not be interrupted."""
    cleaned = False
    with Interrupts() as interrupts:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)
        except SystemExit:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            cleaned = True
        interrupts._time -= 60
        with pytest.raises(KeyboardInterrupt):  # a later one acts
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PATIENCE)
    assert cleaned and interrupts.received is signal.SIGINT


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
