"""Output of a command: progress, messages and warnings on standard error, the result on standard output."""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Annotated, TextIO

import tyro

from ds4d.cli.displays import display_for, one_line, printable
from ds4d.cli.result import ExitCode, Outcome
from ds4d.core import Degraded, Notice, Progress, Warned, notices_to, progress_to


@dataclass(frozen=True, kw_only=True)
class ConsoleOptions:
    """Output options, which every command has; `ds4d.cli.main` reads them before the command parses its arguments.

    Attributes:
        quiet: print nothing but errors.
        json: print the result as one JSON object on standard output, and everything else on standard error; see
            docs/command_line.md.
    """

    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


class Console:
    """The console of one command; inside its block, progress and warnings are shown.

    With `json`, whatever is printed inside the block, by any package, goes to standard error.

    Args:
        command: the command's name.
        options: what is printed, and how.
        check: called when work reports its progress; raises if the work shall end.
    """

    def __init__(self, command: str, options: ConsoleOptions, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self.options = options
        self._command, self._began = command, time.perf_counter()
        self._stdout = sys.stdout
        self._display = display_for(quiet=options.quiet)
        self._notices: list[Notice] = []
        self._is_repetition_useful = False  # whether anything was printed after the first notice
        self._has_result = False
        self._block = ExitStack()

    def __enter__(self) -> "Console":
        self._block.enter_context(warnings.catch_warnings())
        warnings.showwarning = self._show_warning  # ty: ignore[invalid-assignment] (the hook that Python documents)
        if self.options.json:
            self._block.enter_context(redirect_stdout(sys.stderr))
        self._block.enter_context(progress_to(self.progress))
        self._block.enter_context(notices_to(self.notice))
        self._block.callback(self._display.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.close()

    def print(self, line: str) -> None:
        """Prints a line about the work on standard error."""
        self._is_repetition_useful = bool(self._notices)
        self._display.print(line)

    def progress(self, progress: Progress, note: str = "") -> None:
        """Shows the progress of some work, with a note on its last step."""
        self._check()
        self._is_repetition_useful = bool(self._notices)
        self._display.progress(progress, note)

    def release(self) -> None:
        """Releases the terminal until there is more to show: a command draws on it itself."""
        self._display.close()

    def notice(self, notice: Notice) -> None:
        """Prints a degradation or a warning, each once; all are printed again before the result of long work."""
        if notice not in self._notices:
            self._notices.append(notice)
            self._display.print(_describe_notice(notice))

    def print_result(self, outcome: Outcome) -> ExitCode:
        """Prints the result of the command, as text or as JSON; returns its exit code."""
        if self._is_repetition_useful:
            for notice in self._notices:
                self._display.print(_describe_notice(notice))
        self._display.close()
        if outcome.error:
            print(f"ds4d: error: {one_line(outcome.error)}", file=sys.stderr)
        if self.options.json:
            if not self._has_result:
                seconds = round(time.perf_counter() - self._began, 3)
                notices = {
                    "degradations": [asdict(each) for each in self._notices if isinstance(each, Degraded)],
                    "warnings": [asdict(each) for each in self._notices if isinstance(each, Warned)],
                }
                record = {"command": self._command, **outcome.record(), **notices, "seconds": seconds}
                self._print_stdout(json.dumps(record, indent=1, allow_nan=False))
        elif not self.options.quiet and (summary := outcome.summary()):
            self._print_stdout(printable(summary))
        self._has_result = True
        return outcome.exit_code

    def _print_stdout(self, text: str) -> None:
        try:
            print(text, file=self._stdout, flush=True)
        except BrokenPipeError:  # the reader has left, as `head` does; Python flushes once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.notice(Warned("python", str(message)))


def _describe_notice(notice: Notice) -> str:
    severity = "degraded" if isinstance(notice, Degraded) else "warning"
    return f"ds4d: {severity}: {one_line(notice.message)}"
