"""Atomic file writes: a file is complete or does not exist."""

import contextlib
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Generator[Path, None, None]:
    """A temporary path beside `path` with the same suffix, renamed to `path` when the block ends without an error.

    Creates missing parent folders. After an error the temporary file is removed, and an existing file is unchanged.

    Args:
        path: path of the finished file.

    Raises:
        OSError: The file cannot be written; the error names `path`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}-{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        # A full disk is reported without a file name, or with that of the temporary file, which is removed.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):  # a disk that turned read-only: the first error says so
            temporary.unlink(missing_ok=True)
