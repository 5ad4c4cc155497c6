"""What came of a command, for people and for programs."""

import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds4d.cli.exit_codes import MEANINGS, ExitCode

_NAMED = 16  # files; of more, only how many there are is said


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes:
        text: the answer for people; empty where files are all there is.
        result: the same for programs, as json holds it.
        wrote: the files.
        next: commands that are useful now, ready to be pasted.
        error: what went wrong, in a sentence or two.
        exit_code: of the command.
    """

    text: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    wrote: Sequence[Path] = ()
    next: Sequence[str] = ()
    error: str | None = None
    exit_code: ExitCode = ExitCode.DONE

    def spoken(self) -> str:
        """For people: the answer, what was written, what is useful now."""
        lines = [self.text] if self.text else []
        return "\n".join([*lines, *_name_files(self.wrote), *(f"next: {command}" for command in self.next)])

    def record(self) -> dict[str, Any]:
        """For programs."""
        record: dict[str, Any] = {
            "result": plain(self.result),
            "wrote": [str(path) for path in self.wrote],
            "next": list(self.next),
            "exit_code": int(self.exit_code),
        }
        if self.exit_code:
            record["error"] = self.error or MEANINGS[self.exit_code]
        return record


def ds4d_command(*words: str | Path) -> str:
    """A command of ds4d, ready to be pasted into a shell."""
    return shlex.join(["ds4d", *map(str, words)])


def page_command(run: Path) -> str:
    """The command that makes a page of a run, to look at and to hand on."""
    return ds4d_command("export", run, "--format", "html", "-o", f"{run.resolve().name}.html")


def written_page(page: Path) -> Outcome:
    """What came of a command that has written a page: its size, and how to open it."""
    size = page.stat().st_size
    text = f"a page of {size / 1e6:.1f} MB; open it in a browser"
    return Outcome(text, {"bytes": size}, [page], [browser_command(page)])


def browser_command(file: Path) -> str:
    """The command that shows a page or an image in the usual browser, by this Python, whatever its name."""
    return shlex.join([sys.executable, "-m", "webbrowser", file.resolve().as_uri()])


def plain(value: Any) -> Any:
    """A value as json holds it: what is not finite as null, paths as text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def _name_files(paths: Sequence[Path]) -> list[str]:
    if len(paths) <= _NAMED:
        return [f"wrote {path}" for path in paths]
    return [f"wrote {len(paths)} files into {os.path.commonpath([path.parent for path in paths])}"]
