"""A batch as it lies in its output: whose it is, its store, its claims, its board."""

import json
import os
import platform
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds4d.batch.attempt import STATE, Job
from ds4d.batch.claims import Claims, Owner, Record
from ds4d.batch.manifest import Item
from ds4d.batch.queue import Queue, divide
from ds4d.batch.storage import filesystem, is_url, join
from ds4d.batch.stores import BucketStore, FolderStore, PatientStore, Store
from ds4d.io import atomic_path, parse_json

FORMAT = 1
BOARD = "board.html"
_IDENTITY = "batch.json"
_PER_BUCKET = 200  # objects; few enough that workers rarely meet, and that a listing takes no time


@dataclass(frozen=True)
class Batch:
    """A batch that this process takes part in.

    Attributes:
        output: folder or URL of the results.
        items: all objects, by name.
        store: where the records lie.
        buckets: number of folders among which the records are divided.
    """

    output: str
    items: Mapping[str, Item]
    store: Store
    buckets: int

    def claims(self, *, retries: int, timeout: float, reads_all: bool = False) -> Claims:
        """The claims as a new worker makes them, or an observer that reads the records of all objects."""
        return Claims(
            self.store,
            this_process(),
            clock=time.monotonic,
            wall_clock=time.time,
            buckets=self.buckets,
            retries=retries,
            timeout=timeout,
            is_gone=is_gone,
            check=self._check_same,
            reads_all=reads_all,
        )

    def queue(self, claims: Claims, wanted: Sequence[str]) -> Queue:
        """The objects that a worker may take, in an order of its own."""
        return Queue(claims, divide(self.items, self.buckets), wanted, start=random.randrange(self.buckets))

    def jobs(self, *, hang_seconds: float) -> dict[str, Job]:
        """What is to be done, by name of the object."""
        return {name: Job(item, self.output, hang_seconds=hang_seconds) for name, item in self.items.items()}

    def write_board(self, page: str) -> str:
        """Writes the board into the output; returns its path or URL."""
        place = join(self.output, BOARD)
        if is_url(self.output):
            system, path = filesystem(place, writable=True)
            system.pipe_file(path, page.encode("utf-8", errors="replace"))
        else:
            with atomic_path(place) as temporary:
                temporary.write_text(page, encoding="utf-8", errors="replace")
        return place

    def _check_same(self, name: str, record: Record) -> None:
        """Refuses a manifest whose row was done with another input or other options."""
        digest = record.data.get("digest")
        if record.kind == "done" and digest not in (None, self.items[name].digest):
            raise ValueError(
                f"{name} must have the input and the options that it was done with in {self.output}, got others. Give "
                "the row another name, or choose another output."
            )


def open_store(output: str) -> Store:
    """The records of the batch in a folder or at a URL, whether there is one yet or not."""
    return PatientStore(_bucket(output)[0] if is_url(output) else FolderStore(Path(output) / STATE))


def open_batch(output: str, source: str, items: Sequence[Item], defaults: Mapping[str, Any]) -> Batch:
    """Begins a batch, or joins the one in the output, which must be of the same source.

    Args:
        output: folder or URL for the results.
        source: what names the objects: manifest, folder or pattern.
        items: the objects.
        defaults: options of all rows.

    Raises:
        ValueError: the output belongs to another batch, or holds something else; or a store cannot keep claims.
        OSError: the output cannot be written to.
    """
    store = open_store(output)
    if is_url(output):
        if store.read(_IDENTITY) is None:
            bucket, system, path = _bucket(output)
            bucket.check()
            if _holds_anything(system, path):
                raise ValueError(_not_empty(output))
    else:
        folder = Path(output)
        if not (folder / STATE).is_dir() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(_not_empty(output))
    place = source if is_url(source) else os.path.abspath(source)
    identity: dict[str, Any] = {"format": FORMAT, "source": place, "options": dict(defaults)}
    mine = json.dumps({**identity, "buckets": _buckets(len(items))})
    store.create(_IDENTITY, mine.encode())
    found = _parse_identity(store.read(_IDENTITY))
    for key, value in identity.items():
        if found.get(key) != value:
            raise ValueError(
                f"output {output} must be new, or that of the same batch, got one of another {key}: {found.get(key)}. "
                "Choose another output, or give the same arguments again."
            )
    return Batch(output, {item.name: item for item in items}, store, int(found["buckets"]))


def _bucket(output: str) -> tuple[BucketStore, Any, str]:
    system, path = filesystem(output, writable=True)
    return BucketStore(system, f"{path.rstrip('/')}/{STATE}"), system, path


def _parse_identity(content: bytes | None) -> dict[str, Any]:
    try:
        found = parse_json(content or b"")
    except ValueError:
        found = None
    is_whole = isinstance(found, dict) and isinstance(found.get("buckets"), int) and found["buckets"] > 0
    return found if is_whole else {"format": "a damaged record"}


def this_process() -> Owner:
    """A new worker of this process."""
    return Owner(f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}", platform.node(), _machine(), os.getpid())


def is_gone(owner: Owner) -> bool:
    """Whether a worker is known to have ended: its process was on this machine, and is no more.

    A process that has got its number meanwhile keeps it alive until the timeout.
    """
    if owner.host != platform.node() or owner.machine != _machine() or not owner.machine or os.name != "posix":
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:
        state = Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"  # killed, and its parent has not noticed


def _machine() -> str:
    """This boot of this machine, and its space of process numbers; containers have their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _buckets(objects: int) -> int:
    buckets = 1
    while buckets * _PER_BUCKET < objects:
        buckets *= 2
    return buckets


def _holds_anything(system: Any, path: str) -> bool:
    try:
        return bool([each for each in system.ls(path, detail=False) if not each.rstrip("/").endswith(f"/{STATE}")])
    except FileNotFoundError:
        return False


def _not_empty(output: str) -> str:
    return f"output {output} must be a new or empty folder, or that of this batch, got other files. Choose another."
