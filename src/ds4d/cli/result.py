"""The result of a command, as text for people and as a record for programs, and the exit codes."""

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

_MAX_LISTED_FILES = 16  # more files are only counted


class ExitCode(IntEnum):
    """The exit code of a command; `MEANINGS` describes each."""

    SUCCESS = 0
    FAILURE = 1
    USAGE_ERROR = 2
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.SUCCESS: "success",
    ExitCode.FAILURE: (
        "failure: full disk, out of memory, diverged fit, ended process of a fit on several GPUs, failed fit of an "
        "ablation or a batch, failed check of ds4d doctor, or internal error"
    ),
    ExitCode.USAGE_ERROR: "invalid arguments or input",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.TERMINATED: "terminated by SIGTERM",
}


@dataclass(frozen=True)
class Outcome:
    """The result of a command.

    Attributes:
        text: the answer for people; empty where the command only writes files.
        result: the answer for programs, as JSON can hold it.
        files: paths of the files that were written.
        next: suggested next steps, each a command or a sentence.
        error: what went wrong, in one or two sentences; None after a success.
        exit_code: the exit code of the command.
    """

    text: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Path] = ()
    next: Sequence[str] = ()
    error: str | None = None
    exit_code: ExitCode = ExitCode.SUCCESS

    def summary(self) -> str:
        """The lines for people: the answer, the files written, the next steps."""
        lines = [self.text] if self.text else []
        return "\n".join([*lines, *_list_files(self.files), *(f"next: {step}" for step in self.next)])

    def record(self) -> dict[str, Any]:
        """The object for programs, as JSON can hold it."""
        record: dict[str, Any] = {
            "result": plain(self.result),
            "files": [str(path) for path in self.files],
            "next": list(self.next),
            "exit_code": int(self.exit_code),
        }
        if self.exit_code:
            record["error"] = self.error or MEANINGS[self.exit_code]
        return record


def ds4d_command(*argv: str | Path) -> str:
    """A ds4d command line, quoted for a shell."""
    return shlex.join(["ds4d", *map(str, argv)])


def export_page_command(run: Path) -> str:
    """The command that exports a run as a web page."""
    return ds4d_command("export", run, "-o", f"{Path(os.path.realpath(run)).name}.html")


def page_outcome(page: Path) -> Outcome:
    """The result of a command that has written a web page: its size, and how to open it."""
    size = page.stat().st_size
    return Outcome(f"web page, {size / 1e6:.1f} MB", {"bytes": size}, [page], [open_in_browser(page)])


def open_in_browser(file: Path) -> str:
    """The next step after a page or an image was written."""
    return f"open {file} in a browser"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are not finite become null, paths become text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _list_files(paths: Sequence[Path]) -> list[str]:
    if len(paths) <= _MAX_LISTED_FILES:
        return [f"wrote {path}" for path in paths]
    return [f"wrote {len(paths)} files into {os.path.commonpath([path.parent for path in paths])}"]
