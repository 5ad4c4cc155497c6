"""Workers that share a batch: crashes, full disks, stops, stores that go away."""

import ctypes
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ds4d.batch import worker as worker_module
from ds4d.batch.attempt import Job, Result
from ds4d.batch.board import page, read_board
from ds4d.batch.claims import Claims, Owner
from ds4d.batch.executors import ProcessExecutor, visible_devices
from ds4d.batch.manifest import Item
from ds4d.batch.queue import Queue, divide
from ds4d.batch.shards import read_shard, share
from ds4d.batch.stores import FolderStore, MemoryStore, PatientStore, Store
from ds4d.batch.worker import DiskFullError, Ended, Event, Started, work

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_TICK", 0.01), ("_LEAST_PAUSE", 0.01), ("_MOST_PAUSE", 0.05)):
        monkeypatch.setattr(worker_module, name, value)


def new_claims(store: Store, timeout: float = 60.0) -> Claims:
    owner = Owner(f"w{next(NUMBERS)}")
    return Claims(store, owner, clock=time.monotonic, wall_clock=time.time, timeout=timeout, reads_all=True)


def jobs_of(*names: str) -> dict[str, Job]:
    return {name: Job(Item(name, f"{name}.mp4"), "out") for name in names}


def run(
    store: Store, names: list[str], attempt: Callable[[Job, Callable[[], bool]], Result], slots: int = 2
) -> list[Event]:
    claims = new_claims(store)
    executor = ProcessExecutor(slots, attempt=attempt)
    return list(work(jobs_of(*names), claims, Queue(claims, divide(names, claims.buckets)), executor))


def outcomes(events: list[Event]) -> dict[str, str]:
    return {event.name: event.outcome for event in events if isinstance(event, Ended)}


def test_one_failure_never_stops_the_rest() -> None:
    tried: Counter[str] = Counter()

    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        tried[job.item.name] += 1
        if job.item.name == "raises":
            raise RuntimeError("a bug")
        if job.item.name == "invalid":
            return Result("failed", "invalid input", True, {"cause": "invalid input", "error": "no video"})
        if job.item.name == "unlucky" and tried["unlucky"] < 3:
            return Result("failed", "out of memory", data={"cause": "out of memory", "seconds": 2.0})
        return Result("done", data={"seconds": 1.0, "run": {"input_psnr": 20.0, "flags": ["low_input_psnr"]}})

    store, names = MemoryStore(), ["a", "raises", "invalid", "unlucky", "b"]
    found = outcomes(run(store, names, attempt))
    assert found == {"a": "done", "b": "done", "unlucky": "done", "raises": "failed", "invalid": "failed"}
    assert tried == {"a": 1, "b": 1, "unlucky": 3, "raises": 3, "invalid": 1}

    board = read_board(names, new_claims(store), price=3600.0)
    assert [row.state for row in board.rows] == ["done", "failed", "failed", "done", "done"]
    record = board.record()
    assert record["causes"] == {"RuntimeError": 1, "invalid input": 1}
    assert record["flags"] == {"low_input_psnr": 3} and record["dollars"] == pytest.approx(1 + 2 + 2 + 1 + 1)
    html = page(board, "<b>")
    assert "&lt;b&gt;" in html and "no video" in html and 'src="a/contact_sheet.png"' in html
    assert run(store, names, attempt) == []  # nothing is left to do


def test_an_idle_worker_leaves_after_its_time() -> None:
    """Another worker holds the only object; without the limit this one would wait for it."""
    store = MemoryStore()
    assert new_claims(store).claim("held")
    claims = new_claims(store)
    queue = Queue(claims, divide(["held"], claims.buckets))
    executor = ProcessExecutor(1, attempt=lambda job, is_stopped: Result("done"))
    events = list(work(jobs_of("held"), claims, queue, executor, idle_timeout=0.1))
    assert not outcomes(events) and not queue.is_over


def test_a_full_disk_ends_this_worker_and_costs_no_attempt() -> None:
    full = Result("failed", "disk full", data={"cause": "disk full", "error": "No space left"})
    store, names = MemoryStore(), ["a", "b", "c"]
    with pytest.raises(DiskFullError):
        run(store, names, lambda job, is_stopped: full, slots=1)
    fine = run(store, names, lambda job, is_stopped: Result("done"))
    assert [event.number for event in fine if isinstance(event, Started)] == [1, 1, 1]
    assert set(outcomes(fine).values()) == {"done"}


def test_closing_stops_what_runs_and_gives_it_back() -> None:
    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        while not is_stopped():
            time.sleep(0.01)
        return Result("stopped")

    store, names = MemoryStore(), ["a", "b", "c"]
    claims = new_claims(store)
    events = work(
        jobs_of(*names), claims, Queue(claims, divide(names, claims.buckets)), ProcessExecutor(2, attempt=attempt)
    )
    while not isinstance(next(events), Started):
        pass
    events.close()  # ty: ignore[unresolved-attribute]
    assert not new_claims(store).survey("0000", names).busy


def test_a_worker_that_lost_its_claim_stops_and_records_nothing() -> None:
    store, names = MemoryStore(), ["a"]
    slow = new_claims(store, timeout=0.1)
    thief = new_claims(store)

    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        thief.survey("0000", names)
        stolen = thief.claim("a")
        assert stolen is not None and thief.finish(stolen, {"by": "thief"})
        while not is_stopped():
            time.sleep(0.01)
        return Result("done", data={"by": "slow"})

    events = list(
        work(jobs_of("a"), slow, Queue(slow, divide(names, slow.buckets)), ProcessExecutor(1, attempt=attempt))
    )
    assert outcomes(events) == {"a": "lost"}
    observer = new_claims(store)
    observer.survey("0000", names)
    record = observer.record("a")
    assert record is not None and record.data == {"by": "thief"}


class FlakyStore(MemoryStore):
    """A store that fails every other time, half of these after the work was done."""

    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count()

    def create(self, key: str, content: bytes) -> bool:
        number = next(self._count)
        if number % 4 == 1:
            raise OSError("connection reset")
        created = super().create(key, content)
        if number % 4 == 3:
            raise OSError("timed out")
        return created

    def names(self, folder: str) -> list[str]:
        if next(self._count) % 2:
            raise OSError("connection reset")
        return super().names(folder)


def test_a_store_that_fails_now_and_then_changes_nothing() -> None:
    done: Counter[str] = Counter()

    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        done[job.item.name] += 1
        return Result("done")

    names = [f"object{number}" for number in range(20)]
    found = outcomes(run(PatientStore(FlakyStore(), sleep=lambda seconds: None), names, attempt))
    assert found == dict.fromkeys(names, "done") and done == dict.fromkeys(names, 1)


def test_a_store_that_stays_away_is_an_error() -> None:
    class Away(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            raise OSError("no route to host")

    with pytest.raises(OSError, match="no route"):
        run(PatientStore(Away(), sleep=lambda seconds: None), ["a"], lambda job, is_stopped: Result("done"))


def test_many_workers_in_threads_do_each_object_once(tmp_path: Path) -> None:
    store, names = FolderStore(tmp_path), [f"object{number}" for number in range(60)]
    done: list[str] = []

    def attempt(job: Job, is_stopped: Callable[[], bool]) -> Result:
        done.append(job.item.name)
        return Result("done")

    threads = [threading.Thread(target=run, args=(store, names, attempt)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(names)


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        (None, {}, None),
        ("2/8", {"RANK": "0", "WORLD_SIZE": "4"}, (2, 8)),
        ("none", {"RANK": "0", "WORLD_SIZE": "4"}, None),
        (None, {"RANK": "0", "WORLD_SIZE": "4"}, (1, 4)),
        (None, {"RANK": "0"}, None),
        (None, {"RANK": "0", "WORLD_SIZE": "1"}, None),
        (None, {"SKYPILOT_NODE_RANK": "3", "SKYPILOT_NUM_NODES": "4"}, (4, 4)),
        (None, {"SKYPILOT_JOB_RANK": "1", "SKYPILOT_NUM_JOBS": "9", "SKYPILOT_NODE_RANK": "0"}, (2, 9)),
        (None, {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "8"}, (7, 8)),
        (
            None,
            {
                "SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "8",
                "SLURM_ARRAY_TASK_STEP": "2", "RANK": "0", "WORLD_SIZE": "2",
            },
            (4, 5),
        ),
        (None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # in the batch script: not started by srun
    ],
)  # fmt: skip
def test_shards(text: str | None, environment: dict[str, str], shard: tuple[int, int] | None) -> None:
    assert read_shard(text, environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "named"),
    [
        ("0/4", {}, "--shard"),
        ("5/4", {}, "--shard"),
        ("half", {}, "--shard"),
        (None, {"RANK": "4", "WORLD_SIZE": "4"}, "RANK"),
        (None, {"RANK": "x", "WORLD_SIZE": "4"}, "RANK"),
        (None, {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4"}, "SLURM_ARRAY_TASK_ID"),
        (None, {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT"),
    ],
)
def test_shards_that_are_none(text: str | None, environment: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_shard(text, environment)


def test_shards_cover_everything_once() -> None:
    names = [f"object{number}" for number in range(23)]
    parts = [share(names, (number, 5)) for number in range(1, 6)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("has_driver", "found"), [(True, ("0", "1")), (False, ())])
def test_gpus_are_counted_where_there_is_a_driver(
    monkeypatch: pytest.MonkeyPatch, has_driver: bool, found: tuple[str, ...]
) -> None:
    def load(name: str) -> None:
        if not has_driver:
            raise OSError(name)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert visible_devices() == found
