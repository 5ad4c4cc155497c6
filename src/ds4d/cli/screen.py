"""Where a command speaks: while it works on standard error, and of what came of it on standard output."""

import json
import os
import sys
import time
import warnings
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, TextIO

import tyro

from ds4d.cli.displays import display_for
from ds4d.cli.exit_codes import ExitCode
from ds4d.cli.outcome import Outcome
from ds4d.core import Degraded, Notice, Progress, notices_to, progress_to


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """How a command speaks; `ds4d.cli.main` reads them from the words, so that errors in the others are told alike.

    Attributes:
        quiet: say nothing but errors.
        json: print one json object at the end, errors too, and all else to standard error; see docs/command_line.md.
    """

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


class Screen:
    """The screen of one command; inside its block, progress and warnings are shown.

    With `json`, whatever else is printed inside the block, by any package, goes to standard error.

    Args:
        command: its name.
        options: how it speaks.
    """

    def __init__(self, command: str, options: ScreenOptions) -> None:
        self.options = options
        self._command, self._began = command, time.perf_counter()
        self._stdout = sys.stdout
        self._display = display_for(quiet=options.quiet)
        self._warnings: list[str] = []
        self._has_answered = False
        self._inside = ExitStack()

    def __enter__(self) -> "Screen":
        self._inside.enter_context(warnings.catch_warnings())
        warnings.showwarning = self._warn  # ty: ignore[invalid-assignment] (the hook that Python documents)
        if self.options.json:
            self._inside.enter_context(redirect_stdout(sys.stderr))
        self._inside.enter_context(progress_to(self.progress))
        self._inside.enter_context(notices_to(self.notice))
        self._inside.callback(self._display.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()

    def say(self, line: str) -> None:
        """Tells what is happening, in a line that stays."""
        self._display.say(line)

    def progress(self, progress: Progress, note: str = "") -> None:
        """Shows how far some work is, with a few words about the last step."""
        self._display.progress(progress, note)

    def notice(self, notice: Notice) -> None:
        """Shows that a part is weaker than asked for, or that the result may suffer; every notice once."""
        severity = "degraded" if isinstance(notice, Degraded) else "warning"
        text = " ".join(notice.message.split())
        if text not in self._warnings:
            self._warnings.append(text)
            self._display.say(f"ds4d: {severity}: {text}")

    def answer(self, outcome: Outcome) -> ExitCode:
        """Says what came of the command; returns its exit code."""
        self._display.close()
        if outcome.error:
            print(f"ds4d: error: {' '.join(outcome.error.split())}", file=sys.stderr)
        if self.options.json:
            if not self._has_answered:
                seconds = round(time.perf_counter() - self._began, 3)
                record = {"command": self._command, **outcome.record(), "warnings": self._warnings, "seconds": seconds}
                self._print(json.dumps(record, indent=1, allow_nan=False))
        elif not self.options.quiet and (spoken := outcome.spoken()):
            self._print(spoken)
        self._has_answered = True
        return outcome.exit_code

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._stdout, flush=True)
        except BrokenPipeError:  # who reads has heard enough, as `head` does; Python flushes once more as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        self._warnings.append(text)
        self._display.say(f"ds4d: warning: {text}")
