"""One run per folder: a lock that lasts as long as the process that holds it."""

import contextlib
import json
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, OWNER = ".ds4d-lock", ".ds4d-owner.json"
_PATIENCE = 2.0  # seconds; `check_idle` of another process holds the lock for a moment


@contextmanager
def locked(folder: Path) -> Generator[None, None, None]:
    """Keeps other runs out of a folder while the block lasts; creates it, and removes it again if it stays empty.

    The system releases the lock of a process that has ended, however that was.

    Raises:
        ValueError: another run is in the folder; the message names its process and machine.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise _in_use(folder) from error
    try:
        with contextlib.suppress(OSError):  # it is only for the message to others; the disk may be full
            owner = {"pid": os.getpid(), "host": platform.node()}
            (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")
        yield
    finally:
        for name in (OWNER, LOCK):
            with contextlib.suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        lock.release()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def check_idle(folder: Path) -> None:
    """Refuses a folder that a run is using.

    Raises:
        ValueError: one is; the message names its process and machine.
    """
    if not (folder / LOCK).exists():
        return
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _in_use(folder) from error
    except OSError:  # whether it can be written to is checked elsewhere
        return
    lock.release()


def _in_use(folder: Path) -> ValueError:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        by = f"process {int(owner['pid'])} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        by = "another process"
    return ValueError(
        f"output {folder} must not be in use, got one that {by} is working on. Wait until it has ended, end it, or "
        "choose another folder."
    )
