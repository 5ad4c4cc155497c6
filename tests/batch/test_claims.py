"""Claims between workers that die, hang, come back and disagree about the time."""

from pathlib import Path

import pytest

from ds4d.batch.claims import Claim, Claims, Owner
from ds4d.batch.queue import Queue, divide
from ds4d.batch.stores import FolderStore, MemoryStore, Store

TIMEOUT = 120.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "state")


def worker(store: Store, name: str, clock: Clock, **options: object) -> Claims:
    skew = {"a": 0.0, "b": 86_400.0, "c": -86_400.0}.get(name, 0.0)  # a day apart: only people read these clocks
    return Claims(
        store, Owner(name), clock=clock, wall_clock=lambda: clock.now + skew, timeout=TIMEOUT, reads_all=True, **options
    )  # ty: ignore


def taken(claims: Claims, names: list[str]) -> list[Claim]:
    queue, found = Queue(claims, divide(names, claims.buckets)), []
    while claim := queue.take():
        found.append(claim)
    return found


def watch(claims: Claims, names: list[str], clock: Clock, seconds: float, beating: tuple[Claims, ...] = ()) -> None:
    """Surveys every few seconds, while some workers show that they live."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 5.0
        for other in beating:
            other.beat()
        claims.survey("0000", names)


def test_every_object_has_one_owner(store: Store) -> None:
    clock, names = Clock(), [f"object{number}" for number in range(9)]
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    queues = Queue(a, divide(names, a.buckets)), Queue(b, divide(names, b.buckets))
    got = [claim.name for _ in range(6) for queue in queues if (claim := queue.take())]
    assert sorted(got) == names
    assert not any(queue.is_over for queue in queues)


def test_done_is_final(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    (claim,) = taken(a, ["x"])
    assert a.finish(claim, {"seconds": 3.0})
    queue = Queue(b, divide(["x"], b.buckets))
    assert queue.take() is None and queue.is_over
    assert b.survey("0000", ["x"]).ended == ["x"]
    record = b.record("x")
    assert record is not None and record.data == {"seconds": 3.0}


def test_a_dead_workers_claim_is_taken_over_in_spite_of_clocks_a_day_apart(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    a.beat()
    (old,) = taken(a, ["x"])
    watch(b, ["x"], clock, TIMEOUT - 1)
    assert taken(b, ["x"]) == []
    watch(b, ["x"], clock, TIMEOUT / 2)
    (new,) = taken(b, ["x"])
    assert new.number == old.number + 1
    # The first worker was only slow. It learns that the object is another's, and cannot finish it.
    assert a.is_lost(old) and not b.is_lost(new)
    assert not a.finish(old, {})
    assert b.finish(new, {})


def test_a_living_worker_keeps_its_claim(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "c", clock)
    a.beat()
    (claim,) = taken(a, ["x"])
    watch(b, ["x"], clock, 20 * TIMEOUT, beating=(a,))
    assert taken(b, ["x"]) == []
    assert a.finish(claim, {})


def test_time_in_which_nobody_looked_does_not_count(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    a.beat()
    taken(a, ["x"])
    assert taken(b, ["x"]) == []
    clock.now += 100 * TIMEOUT  # the store was away, for all
    assert taken(b, ["x"]) == []


def test_finishing_and_taking_over_cannot_both_succeed(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    a.beat()
    (claim,) = taken(a, ["x"])
    watch(b, ["x"], clock, 2 * TIMEOUT)
    open_now = b.survey("0000", ["x"]).again
    assert open_now == ["x"]
    assert a.finish(claim, {})  # between the survey of the other and its claim
    assert b.claim("x") is None


def test_a_process_that_has_ended_is_not_waited_for(store: Store) -> None:
    clock = Clock()
    a, b = worker(store, "a", clock), worker(store, "b", clock, is_gone=lambda owner: owner.id == "a")
    a.beat()
    taken(a, ["x"])
    assert [claim.name for claim in taken(b, ["x"])] == ["x"]


def test_failures_are_retried_and_then_set_aside(store: Store) -> None:
    clock = Clock()
    a = worker(store, "a", clock, retries=2)
    queue = Queue(a, divide(["x", "y"], a.buckets))
    for _ in range(3):
        claim = queue.take()
        while claim is not None and claim.name == "y":
            a.finish(claim, {})
            claim = queue.take()
        assert claim is not None and a.fail(claim, {"cause": "out of memory"})
    assert queue.take() is None and queue.is_over
    assert a.is_set_aside("x") or worker(store, "b", clock).survey("0000", ["x"]).ended == ["x"]
    again = Queue(a, divide(["x", "y"], a.buckets))
    assert again.reopen_failed() == 1
    claim = again.take()
    assert claim is not None and claim.name == "x" and claim.failures == 0


def test_hopeless_objects_are_not_retried(store: Store) -> None:
    a = worker(store, "a", Clock())
    (claim,) = taken(a, ["x"])
    a.fail(claim, {"cause": "invalid input"}, permanent=True)
    assert taken(a, ["x"]) == []


def test_a_release_is_no_attempt(store: Store) -> None:
    a = worker(store, "a", Clock(), retries=0)
    for _ in range(5):
        (claim,) = taken(a, ["x"])
        assert a.release(claim)
    assert claim.failures == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"kind": "done", "unknown": 1}',
        b'{"kind": 3}',
        b'{"kind": "failed", "failures": "many"}',
        b'{"kind": "done", "data": []}',
    ],
)
def test_a_damaged_record_is_taken_over_after_the_timeout(store: Store, content: bytes) -> None:
    clock = Clock()
    a = worker(store, "a", clock)
    store.create("0000/x.1", content)
    assert taken(a, ["x"]) == []
    watch(a, ["x"], clock, 1.5 * TIMEOUT)
    assert [claim.number for claim in taken(a, ["x"])] == [2]


def test_complete_buckets_are_not_looked_at_again() -> None:
    store, clock, names = MemoryStore(), Clock(), [f"object{number}" for number in range(200)]
    a = worker(store, "a", clock, buckets=16)
    queue = Queue(a, divide(names, a.buckets))
    while claim := queue.take():
        a.finish(claim, {})
    assert queue.take() is None and queue.is_over
    before, late = store.calls, Queue(worker(store, "b", clock, buckets=16), divide(names, 16))
    assert late.take() is None and late.is_over
    assert store.calls - before <= 2


def test_a_shard_takes_its_own_objects_alone(store: Store) -> None:
    a, names = worker(store, "a", Clock()), ["x", "y", "z"]
    queue = Queue(a, divide(names, a.buckets), ["y"])
    claim = queue.take()
    assert claim is not None and claim.name == "y" and queue.take() is None
    a.finish(claim, {})
    assert queue.take() is None and queue.is_over


def test_among_many_claims_those_of_the_dead_are_found_within_two_timeouts() -> None:
    """One worker without work, and a bucket for each of a hundred others, half of whom have died."""
    clock, store, count = Clock(), MemoryStore(), 100
    names = [f"x{number}" for number in range(count)]
    others = [worker(store, f"w{number}", clock, buckets=4096) for number in range(count)]
    for name, other in zip(names, others, strict=True):
        other.beat()
        assert other.claim(name)
    idle = worker(store, "idle", clock, buckets=4096)
    queue = Queue(idle, divide(names, idle.buckets))
    claim = None
    for _ in range(8):
        clock.now += TIMEOUT / 4
        for other in others[count // 2 :]:
            other.beat()
        claim = claim or queue.take()
    assert claim is not None and int(claim.name[1:]) < count // 2


def test_what_was_begun_goes_on_first(store: Store) -> None:
    clock, names = Clock(), [f"x{number}" for number in range(8)]
    a, b = worker(store, "a", clock), worker(store, "b", clock)
    first = Queue(a, divide(names, a.buckets)).take()
    assert first is not None and a.release(first)
    again = Queue(b, divide(names, b.buckets)).take()
    assert again is not None and again.name == first.name
