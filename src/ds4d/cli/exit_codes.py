"""The exit codes of all commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command has ended; `MEANINGS` says each in words."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed: no room, too little memory, a loss that is NaN, a fit of an ablation, or a fault of ds4d",
    ExitCode.REFUSED: "refused: wrong words, or an input that cannot be used",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
    ExitCode.TERMINATED: "stopped by SIGTERM",
}
