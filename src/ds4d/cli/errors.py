"""Errors as users see them: one line that names what is wrong and the mend; a traceback only for our own bugs."""

import errno
import traceback
from collections.abc import Callable

import torch

from ds4d.cli.exit_codes import MEANINGS, ExitCode
from ds4d.cli.outcome import Outcome
from ds4d.training import TrainingDiverged

_NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
_FILE_ERRORS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


def attempt(command: Callable[[], Outcome | None]) -> Outcome | None:
    """What came of a command; whatever is wrong with its input or its surroundings is an outcome, too.

    Returns:
        None where all has been said: the command answered itself, or its help was asked for.
    """
    try:
        return command()
    except (ValueError, ImportError) as error:
        return Outcome(error=str(error), exit_code=ExitCode.REFUSED)
    except TrainingDiverged as error:
        return Outcome(error=str(error), exit_code=ExitCode.FAILED)
    except KeyboardInterrupt:
        return Outcome(error=MEANINGS[ExitCode.INTERRUPTED], exit_code=ExitCode.INTERRUPTED)
    except SystemExit as leaving:
        return _of_leaving(leaving.code)
    except Exception as error:
        return _of_files(error) or _of_memory(error) or _of_ours(error)


def _of_leaving(code: str | int | None) -> Outcome | None:
    """Words that were not understood, which has been said; a signal; whatever else ends a program; None for help."""
    if not code:
        return None
    if code == ExitCode.TERMINATED:
        return Outcome(error=MEANINGS[ExitCode.TERMINATED], exit_code=ExitCode.TERMINATED)
    known = ExitCode(code) if code in MEANINGS else ExitCode.FAILED
    return Outcome(error=code if isinstance(code, str) else None, exit_code=known)


def _of_files(error: Exception) -> Outcome | None:
    """No room, or no right to use a file; None for other errors."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _NO_ROOM:
        message = (
            f"no room to write {error.filename} ({error.strerror}). Free some on that disk, or name a folder on "
            "another; a fit goes on with --resume."
        )
        return Outcome(error=message, exit_code=ExitCode.FAILED)
    if isinstance(error, _FILE_ERRORS) or error.errno == errno.EROFS:
        message = f"{error.filename} cannot be used: {error.strerror}. Name another, or change it."
        return Outcome(error=message, exit_code=ExitCode.REFUSED)
    return None


def _of_memory(error: Exception) -> Outcome | None:
    """Too little memory, of the GPU or of the machine; None for other errors."""
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    # Torch has no error of its own for the machine's memory, but the name of its allocator.
    if not (on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
        return None
    message = (
        f"the {'GPU' if on_gpu else 'machine'} has too little free memory. End other programs that use it, or ask for "
        "less: a smaller --size or --training.densification.max-gaussians, fewer --training.times-per-step"
        f"{', or --device cpu' if on_gpu else ''}."
    )
    return Outcome(error=message, exit_code=ExitCode.FAILED)


def _of_ours(error: Exception) -> Outcome:
    """A fault of ds4d, with its traceback."""
    traceback.print_exception(error)
    message = f"a fault of ds4d, {type(error).__name__}: {error}. Please report it with the lines above."
    return Outcome(error=message, exit_code=ExitCode.FAILED)
