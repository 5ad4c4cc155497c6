"""Inputs and outputs in other places than a folder: s3://, gs://, https://, by fsspec."""

import contextlib
import re
import shutil
from collections.abc import Callable, Generator
from pathlib import Path, PurePosixPath
from typing import Any

from ds4d.core import install_command
from ds4d.io import leftovers
from ds4d.runs import RunPaths
from ds4d.runs.lock import LOCK, OWNER

PROTOCOLS = ("s3", "gs", "https", "memory")  # memory: tests
_READ_ONLY = ("https",)
_NOT_UPLOADED = {"checkpoints", LOCK, OWNER}


class StorageError(Exception):
    """A store could not be reached, or did not take or give what was asked; trying again may help."""


def is_url(location: str) -> bool:
    """Whether a location is not a path of this machine."""
    return re.match(r"[A-Za-z][\w+.-]*://", location) is not None


def join(base: str, name: str) -> str:
    """A location below another one."""
    return f"{base.rstrip('/')}/{name}"


def filesystem(url: str, *, writable: bool = False) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Args:
        url: where something is or shall be.
        writable: whether it must be possible to write there.

    Raises:
        ValueError: the protocol is not one of `PROTOCOLS`, or is read-only.
        ImportError: the package for the protocol is not installed.
    """
    import fsspec

    protocol = url.split("://", 1)[0].lower()
    allowed = [each for each in PROTOCOLS[:-1] if not (writable and each in _READ_ONLY)]
    if protocol not in PROTOCOLS or (writable and protocol in _READ_ONLY):
        raise ValueError(f"{url} must begin with {', '.join(f'{each}://' for each in allowed)}, or be a path.")
    options = {} if protocol in ("memory", "https") else {"use_listings_cache": False}
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise ImportError(f"{protocol}:// needs {error.name or error}. Run {install_command('storage')}") from error


def fetch(url: str, folder: Path) -> Path:
    """Downloads a file or a folder, whole or not at all; returns its path in `folder`.

    What was downloaded before is used again.

    Raises:
        FileNotFoundError: there is nothing at the URL.
        StorageError: the store failed.
    """
    system, path = filesystem(url)
    target = folder / (PurePosixPath(path.rstrip("/").split("?")[0]).name or "input")
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".ds4d-partial-{target.name}"
    _remove(partial)
    try:
        with _storage_errors(url):
            if system.isdir(path):
                system.get(path.rstrip("/") + "/", f"{partial}/", recursive=True)
            else:
                system.get_file(path, str(partial))
        partial.rename(target)
    finally:
        _remove(partial)
    return target


def upload(run: Path, url: str, check: Callable[[], None] = lambda: None) -> int:
    """Uploads a finished run, whole or not at all; returns the number of bytes.

    Each file appears when it is complete, and metrics.json, which marks a run as finished, is the last one. After an
    error what was uploaded is removed again, as far as the store can be reached. Checkpoints stay behind.

    Args:
        run: folder of the run.
        url: folder of the run in the store.
        check: called before each file; raises if the upload shall end.

    Raises:
        StorageError: the store failed.
    """
    system, path = filesystem(url, writable=True)
    left_out = {each.name for each in leftovers(run)} | _NOT_UPLOADED
    files = [
        each for each in sorted(run.rglob("*")) if each.is_file() and not left_out & set(each.relative_to(run).parts)
    ]
    last = RunPaths(run).metrics
    files.sort(key=lambda file: file == last)
    total, uploaded = 0, list[str]()
    try:
        with _storage_errors(url):
            for file in files:
                check()
                target = f"{path.rstrip('/')}/{file.relative_to(run).as_posix()}"
                uploaded.append(target)
                system.put_file(str(file), target)
                size = file.stat().st_size
                if system.info(target, refresh=True)["size"] != size:
                    raise OSError(f"{target} has another size than {file}")
                total += size
    except BaseException:
        for target in reversed(uploaded):
            with contextlib.suppress(Exception):
                system.rm_file(target)
        raise
    return total


@contextlib.contextmanager
def _storage_errors(url: str) -> Generator[None, None, None]:
    """Turns whatever a store's package raises into one error that names the URL."""
    try:
        yield
    except (FileNotFoundError, ImportError, ValueError):
        raise
    except OSError as error:
        if error.filename is not None and error.errno is not None and not is_url(str(error.filename)):
            raise  # of this machine: its disk is full, for instance
        raise StorageError(f"{url}: {error}") from error
    except Exception as error:
        raise StorageError(f"{url}: {type(error).__name__}: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
