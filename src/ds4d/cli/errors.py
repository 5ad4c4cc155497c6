"""Errors as users see them: one line that names what is wrong and the mend; a traceback only for our own bugs."""

import errno
import sys
import warnings
from collections.abc import Callable
from typing import TextIO

import torch

from ds4d.training import TrainingDiverged

_NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
_FILE_ERRORS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


def guarded(command: Callable[[], int]) -> int:
    """Runs a command and turns what is wrong with its input or its surroundings into one line and an exit status."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # ty: ignore[invalid-assignment] (the hook that Python documents)
        try:
            return command()
        except (ValueError, ImportError) as error:
            return _fail(str(error), 2)
        except TrainingDiverged as error:
            return _fail(str(error), 1)
        except torch.OutOfMemoryError:
            return _fail(
                "the GPU has too little free memory. End other programs that use it, or ask for less: a smaller --size "
                "or --fit.density.max-gaussians, fewer --fit.times-per-step, or --device cpu.",
                1,
            )
        except OSError as error:
            if error.errno in _NO_ROOM:
                return _fail(
                    f"no room to write {error.filename} ({error.strerror}). Free some on that disk, or name a folder "
                    "on another; a fit goes on with --resume.",
                    1,
                )
            if isinstance(error, _FILE_ERRORS):
                return _fail(f"{error.filename} cannot be used: {error.strerror}. Name another, or change it.", 2)
            raise
        except KeyboardInterrupt:
            return _fail("interrupted", 130)


def _fail(message: str, status: int) -> int:
    print(f"ds4d: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"ds4d: warning: {' '.join(str(message).split())}", file=sys.stderr)
