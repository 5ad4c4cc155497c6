"""Atomic file writes: a file is complete or does not exist."""

import contextlib
import os
import re
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

_OWN = re.compile(r"\.ds4d-[0-9a-f]{8}-.+")  # names of temporary files, which nobody else chooses


@contextmanager
def atomic_path(path: str | Path, *, durable: bool = False) -> Generator[Path, None, None]:
    """A temporary path beside `path` with the same suffix, renamed to `path` when the block ends without an error.

    Creates missing parent folders. After an error the temporary file is removed, and an existing file is unchanged.

    Args:
        path: path of the finished file.
        durable: whether the file is on the disk when the block has ended, so that a power cut leaves the old or the new
            one; this takes time.

    Raises:
        OSError: The file cannot be written; the error names `path`.
    """
    target = Path(path)
    created = _make_folder(target.parent)
    temporary = target.with_name(f".ds4d-{uuid.uuid4().hex[:8]}-{target.stem}{target.suffix}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, target)
        if durable:
            for folder in (target.parent, *created):
                sync(folder)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        # A full disk is reported without a file name, or with that of the temporary file, which is removed.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):  # a disk that turned read-only: the first error says so
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or the names in a folder are on the disk; systems that cannot say so are left alone.

    Raises:
        OSError: the disk is full or broken.
    """
    if path.is_dir():
        with contextlib.suppress(OSError):  # a folder cannot be opened on Windows, nor synced on some file systems
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR)


def leftovers(folder: Path) -> Iterator[Path]:
    """The temporary files in a folder that processes have left that were killed, and those that are being written."""
    return (path for path in folder.iterdir() if _OWN.fullmatch(path.name) and not path.is_dir())


def _make_folder(folder: Path) -> list[Path]:
    """Creates a folder with its parents; returns the folders whose content has changed."""
    changed = [path.parent for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _sync(path: Path, mode: int) -> None:
    number = os.open(path, mode)
    try:
        os.fsync(number)
    finally:
        os.close(number)
