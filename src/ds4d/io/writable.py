"""Proof that a folder can be written to, before the work whose results it is for."""

import contextlib
import tempfile
from pathlib import Path


def check_writable(folder: Path, output: Path | None = None) -> None:
    """Tries to make a folder and to write into it; leaves everything as it was.

    Args:
        folder: folder that will be written to, existing or not.
        output: what the user has named, for the message; the folder by default.

    Raises:
        ValueError: the folder cannot be made, or files cannot be written into it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ds4d")
            file.flush()
    except OSError as error:
        raise ValueError(
            f"output {output or folder} must be a folder that can be written to, got for {folder}: {error.strerror}. "
            "Choose another folder, or change its permissions."
        ) from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
