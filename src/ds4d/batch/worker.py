"""A worker: takes objects, has them done, and records how each ended, until there is nothing left to do."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ds4d.batch.attempt import Job, Result
from ds4d.batch.claims import Claim, Claims
from ds4d.batch.executors import Executor
from ds4d.batch.queue import Queue

_TICK = 0.5  # seconds between two looks at the attempts under way
_LEAST_PAUSE, _MOST_PAUSE = 1.0, 30.0  # seconds between two looks for objects that others have left


@dataclass(frozen=True)
class Started:
    """An attempt has begun.

    Attributes:
        name: name of the object.
        number: number of the attempt, from 1; those that were stopped do not count.
    """

    name: str
    number: int


@dataclass(frozen=True)
class Ended:
    """An attempt has ended.

    Attributes:
        name: name of the object.
        outcome: done, failed, released, or lost to another worker that has taken the object over.
        data: what was recorded.
    """

    name: str
    outcome: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """Time passes, with work under way here or elsewhere.

    Attributes:
        running: number of attempts under way here.
    """

    running: int


Event = Started | Ended | Waiting


class DiskFullError(Exception):
    """This machine has no space left: what it has claimed is left to others."""


def check_idle_timeout(idle_timeout: float, timeout: float) -> None:
    """Refuses a worker that leaves before it can have seen that another is dead.

    Whoever takes the place of a killed worker finds nothing to start until that one's claim has run out. If it left
    earlier, and so did all others, the object would stay undone.

    Args:
        idle_timeout: time after which a worker that has found nothing to start leaves, seconds.
        timeout: time after which a worker that shows no sign of life has lost its claims, seconds.

    Raises:
        ValueError: the first is less than twice the second.
    """
    if not idle_timeout >= 2 * timeout:
        raise ValueError(f"idle_timeout must be at least twice timeout ({2 * timeout:g}), got {idle_timeout:g}.")


def work(
    jobs: Mapping[str, Job],
    claims: Claims,
    queue: Queue,
    executor: Executor,
    clock: Callable[[], float] = time.monotonic,
    idle_timeout: float = math.inf,
) -> Iterator[Event]:
    """Does the objects of a queue; closing the iterator stops the attempts under way and gives their objects back.

    Args:
        jobs: what is to be done, by name of the object.
        claims: the claims of the batch.
        queue: the objects that this worker may take.
        executor: where attempts run; it is closed at the end.
        clock: time in seconds that never goes back.
        idle_timeout: time after which a worker that has found nothing to start leaves the last objects to those that
            are doing them, seconds.

    Raises:
        DiskFullError: a disk of this machine is full.
        OSError: the store of the claims failed for longer than it is waited for.
    """
    running: dict[Future, Claim] = {}
    pause, next_look, full, busy_at = _LEAST_PAUSE, -math.inf, "", clock()
    try:
        while True:
            if claims.beat():
                for claim in running.values():
                    if claims.is_lost(claim):
                        executor.stop(claim.name)
            for future in [each for each in running if each.done()]:
                claim, result = running.pop(future), _result_of(future)
                if result.cause == "disk full":
                    full = str(result.data.get("error", ""))
                yield _settle(claims, claim, result, jobs[claim.name])
                pause, next_look = _LEAST_PAUSE, -math.inf
            while not full and len(running) < executor.slots and clock() >= next_look:
                claim = queue.take()
                if claim is None:
                    pause, next_look = min(2 * pause, _MOST_PAUSE), clock() + pause
                    break
                running[executor.submit(jobs[claim.name])] = claim
                yield Started(claim.name, claim.failures + 1)
            if not running and full:
                raise DiskFullError(full)
            if running:
                busy_at = clock()
            elif queue.is_over or clock() - busy_at >= idle_timeout:
                return
            if running:
                wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            else:
                time.sleep(_TICK)
            yield Waiting(len(running))
    finally:
        executor.close()
        for future, claim in running.items():
            result = Result("stopped") if future.cancelled() or not future.done() else _result_of(future)
            with suppress(OSError):  # an unreachable store: the claim is taken over after the timeout
                _settle(claims, claim, result, jobs[claim.name])


def _result_of(future: Future) -> Result:
    error = future.exception()
    if error is None:
        return future.result()
    cause = type(error).__name__
    return Result("failed", cause, data={"cause": cause, "error": str(error)})


def _settle(claims: Claims, claim: Claim, result: Result, job: Job) -> Ended:
    """Records how an attempt ended, unless its claim was taken over."""
    data = {**result.data, "digest": job.item.digest, "host": claims.owner.host}
    if result.status == "stopped" or result.cause == "disk full":
        kept, outcome = claims.release(claim, data), "released"
    elif result.status == "done":
        kept, outcome = claims.finish(claim, data), "done"
    else:
        kept, outcome = claims.fail(claim, data, permanent=result.permanent), "failed"
    return Ended(claim.name, outcome if kept else "lost", data)
