"""Files appear whole or not at all."""

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Generator[Path, None, None]:
    """A temporary path beside `path`, with its suffix; it takes the name `path` when the block ends without an error.

    Folders on the way to `path` are made. After an error nothing is left behind and an older file stays as it was.

    Args:
        path: where the finished file shall stand.

    Raises:
        OSError: the file cannot be written; it carries the name `path`.
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
        # A full disk is reported without a name, or with that of a file that will be gone.
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)
