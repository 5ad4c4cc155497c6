"""Stores of small records: the one thing that the workers of a batch share.

The claims (`ds4d.batch.claims`) need nothing of a store but that one of several writers who create the same key at once
succeeds, and that a record is read whole. A folder on a shared file system and a bucket with conditional writes give
both.
"""

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ds4d.io import atomic_path, sync

T = TypeVar("T")

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@runtime_checkable
class Store(Protocol):
    """Records by key; a key is a folder and a name, `folder/name`."""

    def create(self, key: str, content: bytes) -> bool:
        """Writes a record that does not exist yet; False where it exists. Of several writers, one gets True."""
        ...

    def replace(self, key: str, content: bytes) -> None:
        """Writes a record, in place of an earlier one."""
        ...

    def read(self, key: str) -> bytes | None:
        """The content of a record; None where there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names of the records in a folder."""
        ...

    def remove(self, key: str) -> None:
        """Removes a record, if there is one."""
        ...


class MemoryStore:
    """Records in the memory of one process, for tests and for the simulation."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, bytes]] = {}
        self.calls = 0

    def create(self, key: str, content: bytes) -> bool:
        """See `Store`."""
        self.calls += 1
        folder, _, name = key.rpartition("/")
        records = self._folders.setdefault(folder, {})
        return records.setdefault(name, content) is content

    def replace(self, key: str, content: bytes) -> None:
        """See `Store`."""
        self.calls += 1
        folder, _, name = key.rpartition("/")
        self._folders.setdefault(folder, {})[name] = content

    def read(self, key: str) -> bytes | None:
        """See `Store`."""
        self.calls += 1
        folder, _, name = key.rpartition("/")
        return self._folders.get(folder, {}).get(name)

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        self.calls += 1
        return list(self._folders.get(folder, ()))

    def remove(self, key: str) -> None:
        """See `Store`."""
        folder, _, name = key.rpartition("/")
        self._folders.get(folder, {}).pop(name, None)


class FolderStore:
    """Records as files below a folder, which may lie on a file system that several machines share.

    Args:
        root: the folder; created when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, key: str, content: bytes) -> bool:
        """See `Store`. A hard link is made in one step, also on NFS, and to a file that is already whole."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".ds4d-{uuid.uuid4().hex[:8]}-{path.name}")
        try:
            temporary.write_bytes(content)
            sync(temporary)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return temporary.stat().st_nlink == 2  # NFS repeats a request whose answer was lost
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create_without_links(path, content)
            return True
        except OSError as error:
            raise _naming(error, path, temporary) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def replace(self, key: str, content: bytes) -> None:
        """See `Store`."""
        with atomic_path(self._root / key) as temporary:
            temporary.write_bytes(content)

    def read(self, key: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        try:
            return [name for name in os.listdir(self._root / folder) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def remove(self, key: str) -> None:
        """See `Store`."""
        (self._root / key).unlink(missing_ok=True)


class BucketStore:
    """Records as objects of a bucket (s3://, gs://) that refuses to create an object twice.

    Args:
        filesystem: an fsspec file system.
        root: path of the records in it.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem, self._root = filesystem, root.rstrip("/")

    def create(self, key: str, content: bytes) -> bool:
        """See `Store`."""
        try:
            with _as_os_errors(self._root):
                self._filesystem.pipe_file(f"{self._root}/{key}", content, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, key: str, content: bytes) -> None:
        """See `Store`."""
        with _as_os_errors(self._root):
            self._filesystem.pipe_file(f"{self._root}/{key}", content)

    def read(self, key: str) -> bytes | None:
        """See `Store`."""
        try:
            with _as_os_errors(self._root):
                return self._filesystem.cat_file(f"{self._root}/{key}")
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        self._filesystem.invalidate_cache()
        try:
            with _as_os_errors(self._root):
                paths = self._filesystem.ls(f"{self._root}/{folder}", detail=False)
            return [path.rsplit("/", 1)[1] for path in paths]
        except FileNotFoundError:
            return []

    def remove(self, key: str) -> None:
        """See `Store`."""
        with contextlib.suppress(FileNotFoundError), _as_os_errors(self._root):
            self._filesystem.rm_file(f"{self._root}/{key}")

    def check(self) -> None:
        """Tries whether a record can be created only once.

        Raises:
            ValueError: it can be created twice, so that two workers could own the same object.
        """
        key = f"workers/.probe-{uuid.uuid4().hex}"
        if not self.create(key, b"1") or self.create(key, b"2"):
            raise ValueError(
                f"output {self._root} must be a store that creates an object only once (S3 with If-None-Match, Google "
                "Cloud Storage), got one that replaces it. Choose another store, or a folder."
            )
        self.remove(key)


class PatientStore:
    """A store whose failures are waited out for a while: servers restart, and networks have gaps.

    Args:
        store: the store.
        seconds: how long one call is repeated, seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(self, store: Store, seconds: float = 60.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store, self._seconds, self._sleep = store, seconds, sleep

    def create(self, key: str, content: bytes) -> bool:
        """See `Store`. A record whose creation was confirmed to nobody is recognized by its content."""
        failed = False

        def attempt() -> bool:
            nonlocal failed
            try:
                created = self._store.create(key, content)
            except OSError:
                failed = True
                raise
            return created or (failed and self._store.read(key) == content)

        return self._repeated(attempt)

    def replace(self, key: str, content: bytes) -> None:
        """See `Store`."""
        self._repeated(lambda: self._store.replace(key, content))

    def read(self, key: str) -> bytes | None:
        """See `Store`."""
        return self._repeated(lambda: self._store.read(key))

    def names(self, folder: str) -> list[str]:
        """See `Store`."""
        return self._repeated(lambda: self._store.names(folder))

    def remove(self, key: str) -> None:
        """See `Store`."""
        self._repeated(lambda: self._store.remove(key))

    def _repeated(self, call: Callable[[], T]) -> T:
        pause, left = 0.5, self._seconds
        while True:
            try:
                return call()
            except OSError as error:
                if left <= 0 or is_disk_full(error) or isinstance(error, PermissionError):
                    raise
            self._sleep(pause)
            left, pause = left - pause, min(2 * pause, 10.0)


def is_disk_full(error: OSError) -> bool:
    """Whether a disk or a quota is full."""
    return error.errno in {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}


@contextlib.contextmanager
def _as_os_errors(place: str) -> Generator[None, None, None]:
    """Turns what a store's package raises for a lost connection, whatever that is, into an OSError."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"{place}: {type(error).__name__}: {error}") from error


def _create_without_links(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _naming(error: OSError, path: Path, temporary: Path) -> OSError:
    """The error with the name of the record in place of that of a temporary file, or of none."""
    if error.errno is None or error.filename not in (None, str(temporary), temporary):
        return error
    return OSError(error.errno, error.strerror, str(path))
