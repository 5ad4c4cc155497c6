"""Dispatch of `ds4d COMMAND ...` to the modules of `ds4d.cli.commands`.

A module is imported when its command is called, so that `ds4d --help` answers at once.
"""

import difflib
import gc
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from ds4d import __version__
from ds4d.cli.result import MEANINGS, ExitCode, Outcome
from ds4d.cli.signals import Interrupts

# What each command does; its module in `ds4d.cli.commands` has the same name.
COMMANDS = {
    "check": "check a video: matting, framing, problems, predicted time and memory",
    "multiview": "generate the training views of a video",
    "generate": "fit dynamic Gaussians to a video or to multi-view frames",
    "batch": "fit many videos, on one machine or on several",
    "viewer": "show a run in the browser",
    "render": "render a run to images or a video",
    "eval": "score a run on held-out views, or any result by a protocol",
    "compare": "compare methods that were scored by a protocol",
    "ablate": "compare variants of the method on the same data",
    "sample": "write a synthetic example input",
    "report": "write the HTML report of a run",
    "export": "export a run: web page, PLY, splat, glTF or animated mesh",
    "animate": "move a mesh of yours like the object of a run",
    "weights": "list pretrained models: what is present, licenses, how to get them",
    "compile": "compile the kernels ahead of the first run",
    "doctor": "check that the installation works, and say what to do",
    "info": "show versions, devices and extras, and check that they work",
    "completion": "print a completion script for bash, zsh or fish",
}

_STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after `ds4d`; those of the process if None.

    Returns:
        The exit code (`ds4d.cli.result.ExitCode`).
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    began = time.perf_counter()
    with Interrupts() as interrupts:
        try:
            return _run(argv, interrupts)
        except (KeyboardInterrupt, SystemExit):
            if interrupts.received is None:
                raise
            # While the command line itself was imported, or again while the first signal was acted on.
            interrupts.settle()
            return _print_interruption(argv, interrupts.received, time.perf_counter() - began)


def _run(argv: list[str], interrupts: Interrupts) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return ExitCode.SUCCESS if argv else ExitCode.USAGE_ERROR
    if argv[0] in ("-V", "--version"):
        print(__version__)
        return ExitCode.SUCCESS
    from ds4d.cli.console import Console, ConsoleOptions

    command, *rest = argv
    options = ConsoleOptions(quiet="--quiet" in rest, json=_wants_json(rest))
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        error = f"{command!r} is not a command.{hint} See ds4d --help."
        return Console(command, options).print_result(Outcome(error=error, exit_code=ExitCode.USAGE_ERROR))
    from ds4d.cli.errors import run_safely

    def call() -> Outcome | None:
        try:
            module = import_module(f"ds4d.cli.commands.{command}")
            if not gc.isenabled():  # by `ds4d.__main__`: what has been imported until now is never garbage
                gc.freeze()
                gc.enable()
            interrupts.check()
            with module.COMMAND.naming_options():
                return module.run(rest, console)
        except Exception:
            interrupts.check()  # packages turn an interruption of theirs into other errors
            raise

    with Console(command, options, interrupts.check) as console:
        outcome = run_safely(call)
        interrupts.settle()
        if interrupts.received is not None and (outcome is None or outcome.exit_code not in _STOPPED):
            code = ExitCode(128 + interrupts.received)
            outcome = Outcome(files=() if outcome is None else outcome.files, error=MEANINGS[code], exit_code=code)
        return ExitCode.SUCCESS if outcome is None else console.print_result(outcome)


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether the result is one JSON object; help is text, whatever else is given."""
    return "--json" in argv and {"-h", "--help"}.isdisjoint(argv)


def _print_interruption(argv: Sequence[str], number: int, seconds: float) -> int:
    """Prints what the console prints of a command that was interrupted, without a console."""
    code = ExitCode(128 + number)
    print(f"ds4d: error: {MEANINGS[code]}", file=sys.stderr)
    if _wants_json(argv[1:]):
        record = Outcome(error=MEANINGS[code], exit_code=code).record()
        record = {"command": argv[0], **record, "degradations": [], "warnings": [], "seconds": round(seconds, 3)}
        print(json.dumps(record, indent=1))
    return code


def _help() -> str:
    return "\n".join(
        [
            "usage: ds4d COMMAND ...",
            "",
            "Reconstructs dynamic 3D Gaussians from a video of a moving object.",
            "",
            "commands:",
            *(f"  {name:<12}{purpose}" for name, purpose in COMMANDS.items()),
            "",
            "options:",
            "  ds4d COMMAND --help   show the options of a command",
            "  ds4d --version        show the version",
            "",
            "exit codes:",
            *(f"  {int(code):<12}{meaning}" for code, meaning in MEANINGS.items()),
        ]
    )
