"""One attempt in a process of its own: how it fails, hangs, is stopped, and ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ds4d.batch import attempt as attempt_module
from ds4d.batch.attempt import Job, attempt
from ds4d.batch.manifest import Item

# Stands for `ds4d generate`: does what the name of its input says, and notes each start.
FAKE = r"""
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
source, run = pathlib.Path(words[1]), pathlib.Path(words[3])
run.mkdir(parents=True, exist_ok=True)
with open(run.parent / "starts.txt", "a") as file:
    file.write(f"{source.stem} {'resume' if '--resume' in words else 'new'}\n")
kind = source.stem.split("-")[0]
print("begun", file=sys.stderr, flush=True)
def fail(code, error):
    print(json.dumps({"error": error}))
    sys.exit(code)
if kind == "invalid" or (kind == "other" and "--resume" in words):
    fail(2, "input must be a video, got none.")
if kind in ("other", "begin"):
    (run / "config.json").write_text("{}")
if kind == "full":
    fail(1, "scene.json cannot be written: No space left on device. Free disk space.")
if kind == "memory":
    fail(1, "out of memory. End other programs.")
if kind == "busy":
    fail(1, "the GPU takes no further process: another one has it for itself.")
if kind == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
if kind == "slow":
    time.sleep(600)
metrics = {
    "input_psnr": 20.126, "training_psnr": 30.0, "num_gaussians": 10, "frames": 4, "seconds": {"fit": 1.0, "end": 2.0},
    "peak_memory_bytes": {"main": 5}, "device": "cpu", "degradations": [{"part": "lpips"}],
    "findings": [{"name": "mask_flicker", "severity": "warning"}, {"name": "few_frames", "severity": "note"}],
}
(run / "metrics.json").write_text(json.dumps(metrics))
(run / "report.html").write_text("done")
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """A job whose process does what its name says."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(attempt_module, "_COMMAND", (sys.executable, str(script)))

    def make(name: str, **options: float) -> Job:
        video = tmp_path / f"{name}.mp4"
        video.write_bytes(b"video")
        return Job(Item(name, str(video)), str(tmp_path / "out"), **options)  # ty: ignore

    return make


def test_checkpoints_are_frequent_unless_a_row_says_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "fake.py"
    script.write_text("import json, sys; print(json.dumps({'error': ' '.join(sys.argv)})); sys.exit(2)")
    monkeypatch.setattr(attempt_module, "_COMMAND", (sys.executable, str(script)))
    (tmp_path / "a.mp4").write_bytes(b"video")
    for options, expected in ((("--size", "64"), True), (("--checkpoint-every", "100"), False)):
        job = Job(Item("a", str(tmp_path / "a.mp4"), options), str(tmp_path / "out"))
        assert ("--checkpoint-seconds" in str(attempt(job).data["error"])) == expected


def starts(tmp_path: Path) -> list[str]:
    return (tmp_path / "out" / "starts.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "cause", "permanent"),
    [
        ("invalid", "invalid input", True),
        ("full", "disk full", False),
        ("memory", "out of memory", False),
        ("busy", "GPU busy", False),
        ("killed", "killed by SIGKILL", False),
    ],
)
def test_failures_have_causes(job: Callable[..., Job], name: str, cause: str, permanent: bool) -> None:
    result = attempt(job(name))
    assert (result.status, result.cause, result.permanent) == ("failed", cause, permanent)
    assert result.data["error"] and "begun" in result.data["log"] and result.data["seconds"] > 0


def test_a_finished_run_is_not_done_again(job: Callable[..., Job], tmp_path: Path) -> None:
    for _ in range(2):
        result = attempt(job("fine"))
        assert result.status == "done" and result.data["run"]["input_psnr"] == 20.13
        assert result.data["run"]["seconds"] == 3.0
        assert result.data["run"]["flags"] == ["low_input_psnr", "mask_flicker", "without_lpips"]
    assert starts(tmp_path) == ["fine new"]


def test_a_begun_run_is_resumed(job: Callable[..., Job], tmp_path: Path) -> None:
    run = tmp_path / "out" / "fine"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    assert attempt(job("fine")).status == "done"
    assert starts(tmp_path) == ["fine resume"]


def test_a_run_that_cannot_be_resumed_is_begun_again(job: Callable[..., Job], tmp_path: Path) -> None:
    run = tmp_path / "out" / "other"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    assert attempt(job("other")).status == "done"
    assert starts(tmp_path) == ["other resume", "other new"]


def test_an_input_that_vanished_is_a_permanent_failure(job: Callable[..., Job]) -> None:
    unreachable = Job(Item("x", "memory://nowhere/x.mp4"), job("fine").output)
    result = attempt(unreachable)
    assert (result.status, result.cause, result.permanent) == ("failed", "invalid input", True)


def test_a_process_without_progress_is_ended(job: Callable[..., Job]) -> None:
    result = attempt(job("hang", hang_seconds=1.0))
    assert (result.status, result.cause, result.permanent) == ("failed", "hung", False)


def test_a_stop_is_no_failure(job: Callable[..., Job]) -> None:
    began = time.monotonic()
    result = attempt(job("slow"), lambda: time.monotonic() > began + 0.5)
    assert result.status == "stopped"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_the_process_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    # A `ds4d` that waits forever, as a fit in progress does.
    package = tmp_path / "ds4d"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    child = attempt_module.__file__.replace("attempt.py", "child.py")
    parent_code = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, {child!r}], stdin=subprocess.PIPE, "
        f"env={{'PYTHONPATH': {str(tmp_path)!r}}}); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout.read() == ""  # the pipe closes when the child has ended, too


def test_a_batch_under_torchrun_has_fits_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert "TORCHELASTIC_RUN_ID" not in attempt_module._environment(Job(Item("a", "a.mp4"), "out"))
