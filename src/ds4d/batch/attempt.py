"""One attempt at one object: fetch its input, fit it by `ds4d generate` in a process of its own, upload the result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ds4d.batch.manifest import Item
from ds4d.batch.storage import StorageError, fetch, is_url, join, upload
from ds4d.batch.stores import is_disk_full
from ds4d.io import cache_folder, read_json
from ds4d.runs import RunPaths
from ds4d.runs.lock import check_idle

STATE = ".batch"  # folder of what a batch keeps about itself, in its output
LOW_PSNR = 22.0  # dB on the input view: a fit below has missed the object or its motion
_COMMAND = (sys.executable, "-m", "ds4d.batch.child")
_GRACE = 60.0  # seconds for a run to save itself after SIGTERM
_POLL = 0.25  # seconds between two looks at a process
_BUSY_PAUSE = 5.0
_CHECKPOINT_SECONDS = 8.0  # a fit that is killed often must get further between two kills
_LOG_TAIL = 2000  # characters of a run's log that a failure keeps

# The causes by which the board groups failures, and what each looks like in an error of `ds4d generate`.
_CAUSES = (
    ("disk full", r"No space left|quota exceeded"),
    ("out of memory", r"out of (GPU )?memory"),
    ("GPU busy", r"GPU takes no further process"),
    ("internal error", r"internal error"),
    ("diverged", r"diverged"),
)


@dataclass(frozen=True)
class Job:
    """What is to be done, and how; it can be sent to another machine.

    Attributes:
        item: the object.
        output: folder or URL of the batch.
        threads: number of threads of the process; None: all.
        device: value of CUDA_VISIBLE_DEVICES; None: that of this process.
        hang_seconds: time without a sign of progress after which a run is ended, seconds.
    """

    item: Item
    output: str
    threads: int | None = None
    device: str | None = None
    hang_seconds: float = 1800.0

    @property
    def folder(self) -> Path:
        """Where the batch works on this machine: its output, or a folder of the cache where that is a URL."""
        if not is_url(self.output):
            return Path(self.output)
        return cache_folder("batch") / re.sub(r"[^\w.-]+", "_", self.output)

    @property
    def run(self) -> Path:
        """Folder of the run on this machine."""
        return self.folder / self.item.name

    @property
    def log(self) -> Path:
        """What the run prints."""
        return self.folder / STATE / "logs" / f"{self.item.name}.log"

    @property
    def fetched(self) -> Path:
        """Where an input is downloaded to."""
        return self.folder / STATE / "inputs" / self.item.name


@dataclass(frozen=True)
class Result:
    """How an attempt ended.

    Attributes:
        status: done, failed, or stopped, which is no failure.
        cause: cause of a failure, a few words by which failures are grouped.
        permanent: whether another attempt is pointless.
        data: what is to be known: seconds, metrics, the error.
    """

    status: Literal["done", "failed", "stopped"]
    cause: str = ""
    permanent: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


class _StoppedError(Exception):
    """The attempt is to end."""


def attempt(job: Job, is_stopped: Callable[[], bool] = lambda: False) -> Result:
    """Does one object, or continues it where an earlier attempt has stopped.

    Args:
        job: what is to be done.
        is_stopped: whether the attempt shall end; asked several times per second.
    """
    began = time.monotonic()

    def check() -> None:
        if is_stopped():
            raise _StoppedError

    try:
        result = _attempt(job, check, is_stopped)
    except _StoppedError:
        result = Result("stopped")
    except StorageError as error:
        result = _failure("storage", str(error))
    except FileNotFoundError as error:
        result = _failure("invalid input", f"{error.filename or error} is not there", permanent=True)
    except OSError as error:
        result = _failure("disk full" if is_disk_full(error) else "file error", str(error))
    except Exception as error:  # a bug here, or of a package, must not end the other objects
        result = _failure("internal error", f"{type(error).__name__}: {error}")
    seconds = round(time.monotonic() - began, 3)
    return Result(result.status, result.cause, result.permanent, {**result.data, "seconds": seconds})


def _attempt(job: Job, check: Callable[[], None], is_stopped: Callable[[], bool]) -> Result:
    source, run = job.item.input, RunPaths(job.run)
    if is_url(source):
        source = str(fetch(source, job.fetched))
    _wait_until_idle(job, check)
    if not run.report.is_file():  # the report is a run's last file
        resume = run.config.is_file()
        result = _generate(job, source, is_stopped, resume=resume)
        if resume and result.status == "failed" and result.permanent:
            # It was begun with other settings or by another version: from the start, then.
            _wait_until_idle(job, check)
            shutil.rmtree(job.run)
            result = _generate(job, source, is_stopped, resume=False)
        if result.status != "done":
            return result
    data = {"run": summary(read_json(run.metrics))}
    if is_url(job.output):
        data["bytes"] = upload(job.run, join(job.output, job.item.name), check)
        shutil.rmtree(job.run, ignore_errors=True)
    shutil.rmtree(job.fetched, ignore_errors=True)
    return Result("done", data=data)


def _wait_until_idle(job: Job, check: Callable[[], None]) -> None:
    """Waits for a run that a worker has left behind which lost its claim, until it ends."""
    end = time.monotonic() + job.hang_seconds
    while True:
        check()
        try:
            return check_idle(job.run)
        except ValueError as error:
            if time.monotonic() > end:
                raise StorageError(str(error)) from error
        time.sleep(_BUSY_PAUSE)


def _generate(job: Job, source: str, is_stopped: Callable[[], bool], *, resume: bool) -> Result:
    """Runs `ds4d generate` until it ends, is stopped, or hangs."""
    words = ["generate", source, "-o", str(job.run), *job.item.options, "--json", *["--resume"] * resume]
    if not any(word.startswith("--checkpoint-") for word in job.item.options):
        words += ["--checkpoint-seconds", str(_CHECKPOINT_SECONDS)]
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as answer, job.log.open("ab") as log:
        process = subprocess.Popen(
            [*_COMMAND, *words],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=log,
            env=_environment(job),
            start_new_session=True,  # Ctrl-C reaches this process, which stops the others
        )
        try:
            ending = _watch(process, job, is_stopped)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
        answer.seek(0)
        error = _error_in(answer.read())
    return _result(process.returncode, ending, error, job)


def _watch(process: subprocess.Popen, job: Job, is_stopped: Callable[[], bool]) -> str:
    """Waits for the end of a process; returns whether it was ended because it was `stopped` or `hung`."""
    run = RunPaths(job.run)
    signs, changed = None, time.monotonic()
    while True:
        try:
            process.wait(_POLL)
            return ""
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        if is_stopped():
            process.terminate()  # which saves a checkpoint
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            return "stopped"
        seen = tuple(_size_and_time(path) for path in (job.log, run.log, run.checkpoint))
        if seen != signs:
            signs, changed = seen, now
        elif now - changed > job.hang_seconds:
            process.kill()
            process.wait()
            return "hung"


def _size_and_time(path: Path) -> tuple[int, float]:
    try:
        status = path.stat()
    except OSError:
        return (-1, 0.0)
    return status.st_size, status.st_mtime


def _environment(job: Job) -> dict[str, str]:
    environment = dict(os.environ)
    environment.pop("TORCHELASTIC_RUN_ID", None)  # a batch under torchrun is divided, and its fits are not
    if job.threads is not None:
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[name] = str(job.threads)
    if job.device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = job.device
    return environment


def _error_in(answer: bytes) -> str:
    """The error in what `ds4d generate --json` prints; empty where it was killed before."""
    try:
        return str(json.loads(answer).get("error", ""))
    except (ValueError, AttributeError):
        return ""


def _result(code: int, ending: str, error: str, job: Job) -> Result:
    if code == 0:
        return Result("done")
    if ending == "stopped":
        return Result("stopped")
    if ending == "hung":
        return _failure("hung", f"no sign of progress for {job.hang_seconds:g} s", job.log)
    if code < 0:
        name = signal.Signals(-code).name
        return _failure(f"killed by {name}", error or f"its process was ended by {name}; memory may be short", job.log)
    if code == 2:
        return _failure("invalid input", error, job.log, permanent=True)
    cause = next((cause for cause, words in _CAUSES if re.search(words, error, re.IGNORECASE)), f"exit code {code}")
    return _failure(cause, error or f"its process ended with exit code {code}", job.log)


def _failure(cause: str, error: str, log: Path | None = None, *, permanent: bool = False) -> Result:
    tail = ""
    if log is not None and log.is_file():
        tail = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", errors="replace")
    return Result("failed", cause, permanent, {"cause": cause, "error": error, "log": tail})


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the board shows of a finished run, by its metrics.json: `RunMetrics`, whose import would take a second."""
    kept = ("num_gaussians", "frames", "peak_memory_bytes", "device")
    return {
        "input_psnr": round(metrics["input_psnr"], 2),
        "training_psnr": round(metrics["training_psnr"], 2),
        "seconds": round(sum(metrics["seconds"].values()), 2),
        **{name: metrics[name] for name in kept},
        "flags": flags(metrics),
    }


def flags(metrics: Mapping[str, Any]) -> Sequence[str]:
    """What may be wrong with a result, by names that are stable: warnings of the video checks, and a poor fit."""
    low = ["low_input_psnr"] * (not metrics["input_psnr"] >= LOW_PSNR)
    replaced = [f"without_{notice['part']}" for notice in metrics["degradations"]]
    findings = metrics["findings"] or ()
    return [*low, *(each["name"] for each in findings if each["severity"] == "warning"), *replaced]
