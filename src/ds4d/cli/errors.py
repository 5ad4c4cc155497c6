"""Errors as one line that names the cause and the fix; a traceback only for internal errors."""

import errno
import os
import sys
import traceback
from collections.abc import Callable

from ds4d.cli.displays import printable
from ds4d.cli.result import MEANINGS, ExitCode, Outcome

_DISK_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


def run_safely(command: Callable[[], Outcome | None]) -> Outcome | None:
    """Runs a command; errors in its input or its environment become an outcome, too.

    Returns:
        None where everything is printed: by the command itself, or because its help was asked for.
    """
    try:
        return command()
    except UnicodeEncodeError as error:
        message = f"{error.object} cannot be used: names of files must be UTF-8 here. Rename it."
        return Outcome(error=message, exit_code=ExitCode.USAGE_ERROR)
    except (ValueError, ImportError) as error:
        return Outcome(error=str(error), exit_code=ExitCode.USAGE_ERROR)
    except KeyboardInterrupt:
        return Outcome(error=MEANINGS[ExitCode.INTERRUPTED], exit_code=ExitCode.INTERRUPTED)
    except SystemExit as leaving:
        return _from_exit(leaving.code)
    except Exception as error:
        if _is(error, "ds4d.training.events", "TrainingDiverged") or _is(error, "ds4d.training.ranks", "RankLostError"):
            return Outcome(error=str(error), exit_code=ExitCode.FAILURE)
        named = _from_file_error(error) or _from_memory_error(error) or _from_device_error(error)
        return named or _from_internal_error(error)


def _is(error: Exception, module: str, name: str) -> bool:
    """Whether an error is of a type whose module takes long to import: if nothing has imported it, it is not."""
    return isinstance(error, getattr(sys.modules.get(module), name, ()))


def _from_exit(code: str | int | None) -> Outcome | None:
    """Arguments that could not be parsed, which is printed already; a signal; another exit; None after help."""
    if not code:
        return None
    if code == ExitCode.TERMINATED:
        return Outcome(error=MEANINGS[ExitCode.TERMINATED], exit_code=ExitCode.TERMINATED)
    known = ExitCode(code) if code in MEANINGS else ExitCode.FAILURE
    return Outcome(error=code if isinstance(code, str) else None, exit_code=known)


def _from_file_error(error: Exception) -> Outcome | None:
    """A full disk, or a file that cannot be used, whatever the reason; None for other errors."""
    if not isinstance(error, OSError) or error.errno is None or error.errno == errno.ENOMEM:
        return None
    path = "a file" if error.filename is None else os.fsdecode(error.filename) or "a file without a name"
    if error.errno in _DISK_FULL:
        message = (
            f"{path} cannot be written: {error.strerror}. Free disk space, or choose another folder; "
            "a fit whose folder holds config.json continues with --resume."
        )
        return Outcome(error=message, exit_code=ExitCode.FAILURE)
    if error.filename is None and "temporary directory" in str(error.strerror):
        return Outcome(
            error=f"{error.strerror}. Set TMPDIR to a folder that can be written to.", exit_code=ExitCode.USAGE_ERROR
        )
    if isinstance(error, FileNotFoundError):
        fix = "Check the path"
    elif isinstance(error, PermissionError):
        fix = "Choose another path, or change its permissions"
    else:
        fix = "Choose another path"
    return Outcome(error=f"{path} cannot be used: {error.strerror}. {fix}.", exit_code=ExitCode.USAGE_ERROR)


def _from_memory_error(error: Exception) -> Outcome | None:
    """Too little memory on the GPU or the machine; None for other errors."""
    on_gpu = _is(error, "torch", "OutOfMemoryError")
    # Torch has no error type for the machine's memory; the message holds the name of its allocator.
    if not (on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
        return None
    message = (
        f"out of {'GPU ' * on_gpu}memory. End other programs that use it, or lower --size, "
        "--training.densification.max-gaussians or --training.times-per-step"
        f"{', or use --device cpu' if on_gpu else ''}."
    )
    return Outcome(error=message, exit_code=ExitCode.FAILURE)


def _from_device_error(error: Exception) -> Outcome | None:
    """A GPU that takes no further process; None for other errors."""
    if not (isinstance(error, RuntimeError) and "busy or unavailable" in str(error)):
        return None
    message = (
        "the GPU takes no further process: another one has it for itself, or more use it at once than NVIDIA MPS "
        "allows (48 on many systems). End others, run fewer at a time (--jobs of ds4d batch), or use --device cpu."
    )
    return Outcome(error=message, exit_code=ExitCode.FAILURE)


def _from_internal_error(error: Exception) -> Outcome:
    """A bug of ds4d, with its traceback."""
    print(printable("".join(traceback.format_exception(error))), file=sys.stderr)
    message = f"internal error of ds4d, {type(error).__name__}: {error}. Please report it with the lines above."
    return Outcome(error=message, exit_code=ExitCode.FAILURE)
