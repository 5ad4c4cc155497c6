"""Claims: which worker does which object, without a server, and safe against workers that die, hang or come back.

The history of an object is a chain of records, `NAME.1`, `NAME.2`, ..., each created only once by the store: a
claim, and what ended it: done, failed, released, or the claim of another worker that took it over. Whoever creates the
next one decides, so that of a worker that finishes and one that takes its claim over exactly one succeeds. Nothing
follows a done record, so that there is one per object at most.

Whether a worker lives is told by a counter that it raises. Others compare it with what they have read before and
measure the time in between by their own clock: the clocks of two machines are never compared.
"""

import json
import math
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ds4d.batch.stores import Store

Kind = Literal["claim", "done", "failed", "released", "reopened"]
_KINDS = frozenset(get_args(Kind))

WORKERS, COMPLETE = "workers", "complete"
_DONE = "done"  # in place of the number in a record's name: the object is done
_LOOKS = 4  # a worker whose counter stood still at so many looks in a row, over the timeout, is dead


@dataclass(frozen=True)
class Owner:
    """A worker as the others see it.

    Attributes:
        id: unique name of the worker.
        host: name of its machine.
        machine: what tells apart two machines, or containers, of the same name.
        pid: number of its process.
    """

    id: str
    host: str = ""
    machine: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Record:
    """One link of an object's chain.

    Attributes:
        kind: what happened.
        worker: id of the worker that wrote it.
        host: name of that worker's machine.
        at: time of writing by the clock of that machine, seconds since 1970; for people, never compared.
        failures: number of failed attempts so far.
        permanent: whether another attempt is pointless.
        spent: time of all attempts that have ended so far, seconds.
        token: makes records of the same content differ.
        data: what is to be known of an attempt that has ended: cause, seconds, metrics.
    """

    kind: Kind
    worker: str = ""
    host: str = ""
    at: float = 0.0
    failures: int = 0
    permanent: bool = False
    spent: float = 0.0
    token: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """An object that this worker does.

    Attributes:
        name: name of the object.
        number: number of the claim in the chain.
        failures: number of attempts that failed before.
        spent: time of the attempts before, seconds.
    """

    name: str
    number: int
    failures: int = 0
    spent: float = 0.0


@dataclass
class Survey:
    """The objects of a bucket.

    Attributes:
        names: names of all.
        untried: names of those that nobody has claimed yet.
        released: names of those that their workers have given back, with what was done so far.
        again: names of those that may be claimed again after a failure; of dead workers only if there are no others.
        busy: names of those that workers are doing, this one or others.
        is_unsure: whether one of the workers that do them has not been seen to live lately, nor to be dead; not asked
            while there is other work.
    """

    names: Sequence[str]
    untried: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    is_unsure: bool = False

    @property
    def is_over(self) -> bool:
        """Whether all have ended."""
        return not (self.open or self.busy)

    @property
    def ended(self) -> list[str]:
        """Names of those that are done, or set aside after too many failures."""
        left = {*self.open, *self.busy}
        return [name for name in self.names if name not in left]

    @property
    def open(self) -> list[str]:
        """Names of those that may be claimed, in the order in which to do them: what was begun goes on first."""
        return [*self.released, *self.untried, *self.again]


def bucket_of(name: str, buckets: int) -> str:
    """The folder of an object's records: folders of limited size are listed quickly."""
    return f"{zlib.crc32(name.encode()) % buckets:04x}"


class Claims:
    """The claims of a batch, as one worker sees and makes them.

    Args:
        store: what all workers share.
        owner: this worker.
        clock: time in seconds that never goes back; the wall clock of another machine need not agree.
        wall_clock: seconds since 1970, which records carry for people.
        buckets: number of folders among which the objects are divided; the same for all workers.
        retries: number of attempts after the first that failed.
        timeout: time after which a worker that shows no sign of life is dead, seconds.
        is_gone: whether a worker is known to have ended, which saves the timeout; None: that of none is known.
        check: called with the name and each record that is read; raises if it is that of another object.
        reads_all: whether the records of objects that are done are read, too, as an observer does.
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        buckets: int = 1,
        retries: int = 2,
        timeout: float = 120.0,
        is_gone: Callable[[Owner], bool] | None = None,
        check: Callable[[str, Record], None] = lambda name, record: None,
        reads_all: bool = False,
    ) -> None:
        self.store, self.owner, self.buckets, self.timeout = store, owner, buckets, timeout
        self._clock, self._wall_clock, self._retries, self._is_gone = clock, wall_clock, retries, is_gone
        self._check, self._reads_all = check, reads_all
        self._beat, self._next_beat = 0, -1.0
        self._buckets: dict[str, _Bucket] = {}
        self._looks: dict[str, _Look] = {}

    def beat(self) -> bool:
        """Shows that this worker lives, if it is time to; returns whether it was."""
        now = self._clock()
        if now < self._next_beat:
            return False
        self._beat += 1
        content = json.dumps({**vars(self.owner), "beat": self._beat, "at": self._wall_clock()})
        self.store.replace(f"{WORKERS}/{self.owner.id}", content.encode())
        self._next_beat = now + self.timeout / (2 * _LOOKS)
        return True

    def survey(self, bucket: str, names: Sequence[str]) -> Survey:
        """The state of the objects of one bucket: one listing, and one reading per record that is new here."""
        files, known = set(self.store.names(bucket)), self._buckets.setdefault(bucket, _Bucket())
        result, owners, left = Survey(names), dict[str, str](), list[str]()
        for name in known.left_of(names):
            if f"{name}.{_DONE}" in files and not self._reads_all:
                continue
            chain = known.chains.get(name)
            number = 0 if chain is None else chain.number
            left.append(name)
            while f"{name}.{number + 1}" in files:
                number += 1
            if number == 0:
                result.untried.append(name)
                continue
            if chain is None or chain.number != number or not chain.is_readable:
                chain = _Chain(number, *parse_record(self.store.read(f"{bucket}/{name}.{number}")))
                self._check(name, chain.record)
                known.chains[name] = chain
            record = chain.record
            if record.kind == "done" or self._is_set_aside(record):
                left.pop()
            elif record.kind == "claim":
                owners[name] = record.worker or f"?{name}.{number}"
            else:
                (result.released if record.kind == "released" else result.again).append(name)
        # Who has other work need not know who is dead.
        is_idle = not result.open
        for name, worker in owners.items():
            is_dead = is_idle and self._is_dead(worker)
            (result.again if is_dead else result.busy).append(name)
            result.is_unsure |= is_idle and not is_dead and not self._is_alive(worker)
        known.names, known.left = names, left
        return result

    def record(self, name: str) -> Record | None:
        """The last record of an object that this worker knows; None if there is none."""
        chain = self._chain(name)
        return None if chain is None else chain.record

    def forget(self, bucket: str) -> None:
        """Frees the memory that the records of a bucket take."""
        self._buckets.pop(bucket, None)

    def is_set_aside(self, name: str) -> bool:
        """Whether an object has failed for good."""
        record = self.record(name)
        return record is not None and self._is_set_aside(record)

    def claim(self, name: str) -> Claim | None:
        """Claims an object that a survey has found open; None if another worker was faster."""
        before = self._chain(name)
        last = Record("released") if before is None else before.record
        number = 1 if before is None else before.number + 1
        if not self._append(name, number, Record("claim", failures=last.failures, spent=last.spent)):
            return None
        return Claim(name, number, last.failures, last.spent)

    def finish(self, claim: Claim, data: Mapping[str, Any]) -> bool:
        """Marks an object as done; False if its claim was taken over, and the work is the other worker's."""
        if not self._end(claim, "done", data):
            return False
        # For others, whom the name spares reading the record.
        self.store.replace(f"{bucket_of(claim.name, self.buckets)}/{claim.name}.{_DONE}", b"")
        return True

    def fail(self, claim: Claim, data: Mapping[str, Any], *, permanent: bool = False) -> bool:
        """Records a failed attempt with its cause; False if the claim was taken over."""
        return self._end(claim, "failed", data, failed=1, permanent=permanent)

    def release(self, claim: Claim, data: Mapping[str, Any] | None = None) -> bool:
        """Gives an object back, which counts as no attempt; False if the claim was taken over."""
        return self._end(claim, "released", data or {})

    def reopen(self, name: str) -> bool:
        """Gives an object that was set aside all its attempts again."""
        chain = self._chain(name)
        self._bucket(name).names = None
        return chain is not None and self._append(name, chain.number + 1, Record("reopened"))

    def is_lost(self, claim: Claim) -> bool:
        """Whether another worker has taken a claim over: what this one still does is in vain."""
        return self.store.read(self._key(claim.name, claim.number + 1)) is not None

    def mark_complete(self, bucket: str, count: int) -> None:
        """Tells all workers that a bucket with so many objects holds nothing to do."""
        self.store.replace(f"{COMPLETE}/{bucket}.{count}", b"")

    def unmark_complete(self, bucket: str, count: int) -> None:
        """Takes that back, where objects of the bucket were reopened."""
        self.store.remove(f"{COMPLETE}/{bucket}.{count}")

    def complete(self) -> set[str]:
        """The buckets that hold nothing to do, each with its number of objects: `BUCKET.COUNT`."""
        return set(self.store.names(COMPLETE))

    def _is_set_aside(self, record: Record) -> bool:
        return record.kind == "failed" and (record.permanent or record.failures > self._retries)

    def _end(
        self, claim: Claim, kind: Kind, data: Mapping[str, Any], *, failed: int = 0, permanent: bool = False
    ) -> bool:
        spent = claim.spent + float(data.get("seconds", 0.0))
        record = Record(kind, failures=claim.failures + failed, permanent=permanent, spent=spent, data=data)
        return self._append(claim.name, claim.number + 1, record)

    def _append(self, name: str, number: int, record: Record) -> bool:
        owner = self.owner
        written = replace(record, worker=owner.id, host=owner.host, at=self._wall_clock(), token=uuid.uuid4().hex)
        created = self.store.create(self._key(name, number), json.dumps(vars(written)).encode())
        if created:
            self._bucket(name).chains[name] = _Chain(number, written, True)
        return created

    def _chain(self, name: str) -> "_Chain | None":
        return self._bucket(name).chains.get(name)

    def _bucket(self, name: str) -> "_Bucket":
        return self._buckets.setdefault(bucket_of(name, self.buckets), _Bucket())

    def _is_dead(self, worker: str) -> bool:
        """Whether a worker has shown no sign of life at several looks; time without looks does not count."""
        if worker == self.owner.id:
            return False
        now, look = self._clock(), self._looks.get(worker)
        if look is None or now - look.time >= self.timeout / _LOOKS:
            content = None if worker.startswith("?") else self.store.read(f"{WORKERS}/{worker}")
            if look is None:
                look = _Look(content, 0, now)
            elif content == look.content:
                look = replace(look, unchanged=look.unchanged + 1, time=now)
            else:
                look = _Look(content, 0, now, lived=now)
            self._looks[worker] = look
        if look.unchanged >= _LOOKS or self._is_gone is None:
            return look.unchanged >= _LOOKS
        owner = _parse_owner(look.content)
        return owner is not None and self._is_gone(owner)

    def _is_alive(self, worker: str) -> bool:
        """Whether a worker was seen to raise its counter within the timeout."""
        look = self._looks.get(worker)
        return worker == self.owner.id or (look is not None and self._clock() - look.lived < self.timeout)

    def _key(self, name: str, number: int) -> str:
        return f"{bucket_of(name, self.buckets)}/{name}.{number}"


@dataclass(frozen=True, slots=True)
class _Chain:
    """The end of an object's chain: number of the last record, the record, and whether it could be read."""

    number: int
    record: Record
    is_readable: bool


@dataclass(slots=True)
class _Bucket:
    """What is known of a bucket: the chains of its objects, and which of the names last asked for have not ended."""

    chains: dict[str, _Chain] = field(default_factory=dict)
    names: Sequence[str] | None = None
    left: list[str] = field(default_factory=list)

    def left_of(self, names: Sequence[str]) -> Sequence[str]:
        """The names without those that are known to have ended."""
        return self.left if names is self.names else names


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a worker: its record, how often in a row unchanged, when, and when a change was last seen."""

    content: bytes | None
    unchanged: int
    time: float
    lived: float = -math.inf


def parse_record(content: bytes | None) -> tuple[Record, bool]:
    """A record, and whether it could be read; a damaged one counts as the claim of a worker that is not known."""
    try:
        record = Record(**json.loads(content or b""))
    except (ValueError, TypeError):
        return Record("claim"), False
    kinds = (record.kind in _KINDS, type(record.failures) is int, isinstance(record.data, dict))
    texts = all(isinstance(text, str) for text in (record.worker, record.host))
    is_valid = all(kinds) and texts and isinstance(record.spent, int | float) and isinstance(record.permanent, bool)
    return (record, True) if is_valid else (Record("claim"), False)


def _parse_owner(content: bytes | None) -> Owner | None:
    try:
        values = json.loads(content or b"")
        return Owner(str(values["id"]), str(values["host"]), str(values["machine"]), int(values["pid"]))
    except (ValueError, TypeError, KeyError):
        return None
