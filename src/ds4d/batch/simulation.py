"""A batch of any size on a clock that nobody waits for, with the claims and queues of real workers.

Workers are preempted, stall, meet slow and failing objects, and disagree about the time of day. Only the fits are not
real: their durations are drawn at random.
"""

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ds4d.batch.claims import Claim, Claims, Owner, bucket_of
from ds4d.batch.queue import Queue, divide
from ds4d.batch.stores import MemoryStore
from ds4d.batch.worker import check_idle_timeout
from ds4d.core import check_ranges, report_progress
from ds4d.core.progress import Progress

_HOUR = 3600.0
_LEAST_PAUSE, _MOST_PAUSE = 1.0, 30.0  # as in `ds4d.batch.worker`


@dataclass(frozen=True)
class SimulationConfig:
    """A batch to be simulated.

    Attributes:
        objects: number of objects.
        workers: number of workers, each with one fit at a time.
        median: median duration of a fit, seconds.
        spread: standard deviation of its logarithm.
        stragglers: fraction of fits that take `slowdown` times as long.
        slowdown: how many times as long stragglers take.
        preemptions: probability per hour that a worker is killed without notice.
        restart: time until another worker takes its place, seconds.
        stalls: probability per hour that a worker stands still, unseen by others, and goes on later.
        stall: mean duration of a stall, seconds.
        failures: probability that an attempt fails halfway.
        checkpoint: time between two checkpoints, from which the next attempt continues, seconds; 0: it begins again.
        call: duration of one call of the store, seconds.
        timeout: time after which a worker without a sign of life is dead, seconds.
        idle_timeout: time after which a worker that has found nothing to start leaves, seconds, at least twice
            `timeout`; 0: it stays to the end.
        retries: number of attempts after the first that failed.
        per_bucket: number of objects per folder of records.
        seed: seed of all random numbers.
    """

    objects: int = 1000
    workers: int = 10
    median: float = 60.0
    spread: float = 0.4
    stragglers: float = 0.01
    slowdown: float = 5.0
    preemptions: float = 0.05
    restart: float = 120.0
    stalls: float = 0.01
    stall: float = 300.0
    failures: float = 0.01
    checkpoint: float = 0.0
    call: float = 0.005
    timeout: float = 120.0
    idle_timeout: float = 0.0
    retries: int = 2
    per_bucket: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(
            self, objects="[1, inf)", workers="[1, inf)", median="(0, inf)", preemptions="[0, 1)", stalls="[0, 1)",
            failures="[0, 1]", stragglers="[0, 1]", timeout="(0, inf)", idle_timeout="[0, inf)", per_bucket="[1, inf)",
        )  # fmt: skip
        check_idle_timeout(self.idle_timeout or math.inf, self.timeout)


@dataclass
class Outcome:
    """What a simulated batch came to.

    Attributes:
        done: number of objects that were done.
        set_aside: number of objects that failed too often.
        missing: number of objects that are neither.
        duplicates: number of objects with more than one done record.
        redone: number of fits that ended, but whose object another worker had taken over.
        takeovers: number of claims that ended without a record of their worker.
        preempted: number of workers that were killed.
        hours: duration of the batch, hours.
        tail: time from the moment when 99 % of the objects had ended, hours.
        paid: time of all workers from their start to their end, hours.
        useful: time of attempts that ended in a done record, without what was repeated, hours.
        failed: time of attempts that failed, hours.
        lost: time of attempts that were killed or were taken over, hours.
        calls: number of calls of the store.
    """

    done: int = 0
    set_aside: int = 0
    missing: int = 0
    duplicates: int = 0
    redone: int = 0
    takeovers: int = 0
    preempted: int = 0
    hours: float = 0.0
    tail: float = 0.0
    paid: float = 0.0
    useful: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    calls: int = 0

    @property
    def useful_fraction(self) -> float:
        """The useful part of the paid time."""
        return self.useful / self.paid if self.paid else 0.0

    def record(self) -> dict[str, Any]:
        """All numbers, as JSON can hold them."""
        return {**asdict(self), "useful_fraction": self.useful_fraction}


@dataclass
class _Worker:
    claims: Claims
    queue: Queue
    began: float
    busy_at: float
    is_alive: bool = True
    stalled_until: float = 0.0
    pause: float = _LEAST_PAUSE
    claim: Claim | None = None
    claimed_at: float = 0.0
    attempt: int = 0  # tells apart the events of this attempt from those of earlier ones
    needs: float = 0.0


class _Event(NamedTuple):
    """Events are compared as tuples are, which takes a tenth of the time of other classes: by time, then by number."""

    time: float
    number: int
    kind: str
    worker: _Worker | None
    attempt: int


class Simulation:
    """One simulated batch.

    Args:
        config: what is simulated.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self.config, self.now, self.outcome = config, 0.0, Outcome()
        self.store = MemoryStore()
        self._random, self._numbers = random.Random(config.seed), itertools.count()
        self._buckets = 2 ** math.ceil(math.log2(max(1.0, config.objects / config.per_bucket)))
        self._divided = divide((f"object{number}" for number in range(config.objects)), self._buckets)
        self._durations: dict[str, float] = {}  # of objects that have been begun
        self._progress: dict[str, float] = {}  # what their checkpoints hold
        self._done: dict[str, int] = {}
        self._ended: set[str] = set()
        self._ended_at = [0.0]
        self._events: list[_Event] = []

    def run(self) -> Outcome:
        """Simulates the batch to its end."""
        for _ in range(self.config.workers):
            self._start_worker()
        for step, event in enumerate(self._upcoming()):
            self.now = event.time
            if event.kind == "start":
                self._start_worker()
            elif event.worker is not None and event.worker.is_alive:
                self._handle(event, event.worker)
            if step % 100_000 == 0:
                report_progress(Progress("simulating", len(self._ended), self.config.objects))
        return self._summary()

    def _upcoming(self) -> Iterator[_Event]:
        while self._events:
            yield heapq.heappop(self._events)

    def _handle(self, event: _Event, worker: _Worker) -> None:
        if event.kind == "die":
            self._die(worker)
        elif event.kind == "stall":
            worker.stalled_until = self.now + self._random.expovariate(1 / self.config.stall)
            self._plan(self._time_to(self.config.stalls), "stall", worker)
        elif self.now < worker.stalled_until:  # it goes on where it stood
            self._plan(worker.stalled_until - self.now, event.kind, worker, event.attempt)
        elif event.kind == "beat":
            self._beat(worker)
        elif event.kind == "take" and worker.claim is None:
            self._take(worker)
        elif event.attempt == worker.attempt and worker.claim is not None:
            self._end_attempt(worker, worker.claim, failed=event.kind == "fail")

    def _start_worker(self) -> None:
        if len(self._ended) == self.config.objects:
            return
        skew = self._random.uniform(-86_400.0, 86_400.0)
        claims = Claims(
            self.store,
            Owner(f"w{next(self._numbers)}", "host"),
            clock=lambda: self.now,
            wall_clock=lambda: self.now + skew,
            buckets=self._buckets,
            retries=self.config.retries,
            timeout=self.config.timeout,
        )
        queue = Queue(claims, self._divided, start=self._random.randrange(self._buckets))
        worker = _Worker(claims, queue, began=self.now, busy_at=self.now)
        for kind, delay in (
            ("beat", 0.0),
            ("take", self._random.uniform(0.0, 1.0)),
            ("die", self._time_to(self.config.preemptions)),
            ("stall", self._time_to(self.config.stalls)),
        ):
            self._plan(delay, kind, worker)

    def _take(self, worker: _Worker) -> None:
        calls = self.store.calls
        claim = worker.queue.take()
        spent = (self.store.calls - calls) * self.config.call
        if claim is None:
            idle = self.now - worker.busy_at
            if worker.queue.is_over or (self.config.idle_timeout and idle >= self.config.idle_timeout):
                self._end_worker(worker)
            else:
                self._plan(spent + worker.pause, "take", worker)
                worker.pause = min(2 * worker.pause, _MOST_PAUSE)
            return
        worker.claim, worker.claimed_at, worker.pause = claim, self.now + spent, _LEAST_PAUSE
        worker.attempt += 1
        self.outcome.takeovers += claim.number > 1 and self._was_taken_over(claim)
        if claim.name not in self._durations:
            self._durations[claim.name] = self._duration()
        worker.needs = self._durations[claim.name] - self._progress.get(claim.name, 0.0)
        if self._random.random() < self.config.failures:
            self._plan(spent + worker.needs / 2, "fail", worker, worker.attempt)
        else:
            self._plan(spent + worker.needs, "finish", worker, worker.attempt)

    def _was_taken_over(self, claim: Claim) -> bool:
        bucket = bucket_of(claim.name, self._buckets)
        before = self.store.read(f"{bucket}/{claim.name}.{claim.number - 1}") or b""
        self.store.calls -= 1
        return b'"kind": "claim"' in before

    def _end_attempt(self, worker: _Worker, claim: Claim, *, failed: bool) -> None:
        elapsed = self.now - worker.claimed_at
        data = {"seconds": elapsed}
        if failed:
            kept = worker.claims.fail(claim, data)
            self.outcome.failed += elapsed / _HOUR
            if kept and claim.failures + 1 > self.config.retries:
                self._end_object(claim.name)
                self.outcome.set_aside += 1
        elif worker.claims.finish(claim, data):
            self._done[claim.name] = self._done.get(claim.name, 0) + 1
            self._end_object(claim.name)
            self.outcome.useful += self._durations[claim.name] / _HOUR
        else:
            self.outcome.redone += 1
            self.outcome.lost += elapsed / _HOUR
        worker.claim, worker.busy_at = None, self.now
        self._plan(self.config.call, "take", worker)

    def _end_object(self, name: str) -> None:
        self._ended.add(name)
        self._ended_at.append(self.now)

    def _beat(self, worker: _Worker) -> None:
        worker.claims.beat()
        if worker.claim is not None and worker.claims.is_lost(worker.claim):
            self.outcome.lost += (self.now - worker.claimed_at) / _HOUR
            worker.claim, worker.busy_at = None, self.now
            worker.attempt += 1
            self._plan(self.config.call, "take", worker)
        self._plan(self.config.timeout / 8, "beat", worker)

    def _die(self, worker: _Worker) -> None:
        if worker.claim is not None:
            elapsed = max(0.0, self.now - worker.claimed_at)
            kept = 0.0
            if self.config.checkpoint:
                kept = elapsed // self.config.checkpoint * self.config.checkpoint
                name = worker.claim.name
                if not worker.claims.is_lost(worker.claim):
                    self._progress[name] = min(self._progress.get(name, 0.0) + kept, self._durations[name])
            self.outcome.lost += (elapsed - kept) / _HOUR
        self.outcome.preempted += 1
        self._end_worker(worker)
        self._plan(self.config.restart, "start", None)

    def _end_worker(self, worker: _Worker) -> None:
        worker.is_alive = False
        self.outcome.paid += (self.now - worker.began) / _HOUR

    def _duration(self) -> float:
        slow = self.config.slowdown if self._random.random() < self.config.stragglers else 1.0
        return slow * self.config.median * self._random.lognormvariate(0.0, self.config.spread)

    def _time_to(self, per_hour: float) -> float:
        """Time to the next of events that happen within an hour with some probability, seconds."""
        return self._random.expovariate(-math.log1p(-per_hour) / _HOUR) if per_hour else math.inf

    def _plan(self, delay: float, kind: str, worker: _Worker | None, attempt: int = 0) -> None:
        if delay < math.inf:
            heapq.heappush(self._events, _Event(self.now + delay, next(self._numbers), kind, worker, attempt))

    def _summary(self) -> Outcome:
        result = self.outcome
        result.done, result.calls = len(self._done), self.store.calls
        result.missing = self.config.objects - len(self._ended)
        result.duplicates = sum(count > 1 for count in self._done.values())
        result.hours = max(self._ended_at) / _HOUR
        result.tail = result.hours - sorted(self._ended_at)[int(0.99 * (len(self._ended_at) - 1))] / _HOUR
        return result
