"""One run in several processes, started here or by torchrun: its result, and how it is stopped, killed and resumed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ds4d.config import GenerateConfig
from ds4d.core import with_overrides
from ds4d.data.synthetic import SampleConfig, write_sample
from ds4d.pipeline import Finished, iter_run, processes
from ds4d.pipeline.processes import check_gpus
from ds4d.runs import RunRecord
from ds4d.runs.records import write_json
from ds4d.scene import read_baked_scene
from ds4d.training import RankLostError, StepDone, WindowsConfig, read_log

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(quick_config: GenerateConfig) -> GenerateConfig:
    overrides = {
        "training.static_steps": 6, "training.dynamic_steps": 8, "training.densification.every": 5, "log.every": 1,
        "training.densification.start": 0.0, "init.num_gaussians": 300, "init.hull.resolution": 16,
        "checkpoint_every": 5,
    }  # fmt: skip
    return with_overrides(quick_config, overrides)


class Started(list[subprocess.Popen]):
    """The processes that were started for runs."""

    @property
    def running(self) -> list[subprocess.Popen]:
        """Those that have not ended."""
        return [process for process in self if process.poll() is None]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    found, start = Started(), processes._start

    def keep(*arguments: Any) -> subprocess.Popen:
        found.append(start(*arguments))
        return found[-1]

    monkeypatch.setattr(processes, "_start", keep)
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there that is not about to be waited for by its parent."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def scene_of(folder: Path) -> bytes:
    return (folder / "scene.safetensors").read_bytes()


def test_two_processes_fit_like_torchrun_and_stop_and_resume(
    sample_folder: Path, config: GenerateConfig, tmp_path: Path, started: Started
) -> None:
    """The result of two processes is the same, however they were started, and after a stop with one and with two."""
    events = iter_run(sample_folder, tmp_path / "run", config=config, device="cpu", gpus=2)
    next(event for event in events if isinstance(event, StepDone) and event.step == 7)
    assert len(started.running) == 1
    events.close()
    assert not started.running and (tmp_path / "run" / "checkpoints").is_dir()
    *_, last = iter_run(sample_folder, tmp_path / "run", config=config, device="cpu", gpus=2, resume=True)
    assert isinstance(last, Finished) and last.metrics.device.startswith("2 x ")
    assert [entry["step"] for entry in read_log(tmp_path / "run" / "log.jsonl")] == list(range(1, 15))
    assert len(started) == 2 and not started.running

    write_json(tmp_path / "config.json", RunRecord(sample_folder, "cpu", config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ds4d"]
    words = ["generate", sample_folder, "-o", tmp_path / "torchrun", "--config", tmp_path / "config.json"]
    done = subprocess.run([*command, *words, "--device", "cpu", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert scene_of(tmp_path / "torchrun") == scene_of(tmp_path / "run")


def test_windows_are_fitted_by_all_processes(config: GenerateConfig, tmp_path: Path) -> None:
    long = replace(config, windows=WindowsConfig(mode="on", frames=7, overlap=2))
    folder = tmp_path / "views"
    write_sample(folder, SampleConfig(frames=9, size=32, supersampling=1))
    *_, last = iter_run(folder, tmp_path / "run", config=long, device="cpu", gpus=2)
    assert isinstance(last, Finished) and last.metrics.steps == 6 + 3 * 8
    assert read_baked_scene(tmp_path / "run", CPU).num_gaussians == last.metrics.num_gaussians


@pytest.fixture
def begun(
    sample_folder: Path, config: GenerateConfig, tmp_path: Path, started: Started
) -> Iterator[tuple[Path, Iterator, subprocess.Popen]]:
    """A run of two processes after its first step: its folder, events and second process."""
    events = iter_run(sample_folder, tmp_path / "run", config=config, device="cpu", gpus=2)
    next(event for event in events if isinstance(event, StepDone))
    yield tmp_path / "run", events, started[0]
    events.close()


def listening(pid: int) -> set[str]:
    """The local addresses, as the kernel writes them, at which a process waits for connections."""
    links = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            links.add(os.readlink(path))
    tables = [Path(f"/proc/{pid}/net/{name}").read_text(encoding="utf-8") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links}


def test_other_machines_cannot_connect(begun: tuple[Path, Iterator, subprocess.Popen]) -> None:
    _, events, second = begun
    addresses = listening(os.getpid()) | listening(second.pid)
    events.close()
    assert addresses and addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_process_that_is_killed_ends_the_run(begun: tuple[Path, Iterator, subprocess.Popen]) -> None:
    folder, events, second = begun
    second.send_signal(signal.SIGKILL)
    with pytest.raises(RankLostError, match=r"process 2 of 2.*SIGKILL"):
        list(events)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "log.jsonl"}


def test_the_others_end_with_the_first_process(sample_folder: Path, tmp_path: Path) -> None:
    program = (
        "from ds4d.pipeline import iter_run, processes; from ds4d.training import StepDone; start = processes._start\n"
        "processes._start = lambda *words: (process := start(*words), print(process.pid, flush=True))[0]\n"
        f"for event in iter_run({str(sample_folder)!r}, {str(tmp_path / 'run')!r}, device='cpu', gpus=2,\n"
        "                      preset='tiny', overrides={'init.num_gaussians': 200, 'init.hull.resolution': 16}):\n"
        "    isinstance(event, StepDone) and print('step', flush=True)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert first.stdout is not None
    other = int(first.stdout.readline())
    assert first.stdout.readline() == b"step\n" and is_running(other)
    first.kill()
    first.wait()
    first.stdout.close()
    end = time.monotonic() + 60
    while is_running(other) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(other)


def test_what_cannot_be_read_is_reported_by_the_first_process(
    tmp_path: Path, config: GenerateConfig, started: Started
) -> None:
    (tmp_path / "video.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"video\.mp4"):
        list(iter_run(tmp_path / "video.mp4", tmp_path / "run", config=config, device="cpu", gpus=2))
    assert not started.running and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("gpus", "name"), [(0, "cpu"), (-1, "cpu"), (2, "auto")])
def test_numbers_of_gpus_that_are_refused(gpus: int, name: str) -> None:
    with pytest.raises(ValueError, match=r"^gpus must"):
        check_gpus(gpus, name, CPU)
    check_gpus(4, "cpu", CPU)
