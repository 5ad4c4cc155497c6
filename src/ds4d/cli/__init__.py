"""The command line: `ds4d COMMAND ...`, where COMMAND is one of `COMMANDS`.

Each command is a module whose `run` takes its words and a screen and gives back what came of it. A module is imported
when its command is called, so that `ds4d --help` answers at once.
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from ds4d import __version__
from ds4d.cli.exit_codes import MEANINGS, ExitCode
from ds4d.cli.outcome import Outcome

# What a command does, and the module that does it.
COMMANDS = {
    "check": ("whether a video is fit for use, and what will be seen of it", "ds4d.cli.check"),
    "views": ("the further views of a video that it is fitted with", "ds4d.cli.views"),
    "generate": ("a video or multi-view frames in, a 4D object out", "ds4d.cli.generate"),
    "view": ("a generated object in the browser, from all sides and at all times", "ds4d.cli.view"),
    "render": ("images or a video of a generated object", "ds4d.cli.render"),
    "eval": ("scores on views that were not fitted", "ds4d.cli.evaluate"),
    "ablate": ("compare variants of the method on the same data", "ds4d.cli.ablate"),
    "sample": ("an example input, made here", "ds4d.cli.sample"),
    "report": ("the page of a finished run: videos, curves, figures, settings", "ds4d.cli.report"),
    "export": ("a page that plays it, or its Gaussians or a moving mesh as files", "ds4d.cli.export"),
    "weights": ("pretrained models: what is present, licenses, how to get them", "ds4d.cli.weights"),
    "info": ("device, versions, what is installed and what is missing", "ds4d.cli.info"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after `ds4d`; those of the process if None.

    Returns:
        The exit status (`ds4d.cli.exit_codes`).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return ExitCode.DONE if words else ExitCode.REFUSED
    if words[0] == "--version":
        print(__version__)
        return ExitCode.DONE
    from ds4d.cli.screen import Screen, ScreenOptions

    helps = not {"-h", "--help"}.isdisjoint(words)  # help is text, whatever else is asked for
    options = ScreenOptions(quiet="--quiet" in words, json="--json" in words and not helps)
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        unknown = Outcome(error=f"{words[0]!r} is no command.{hint} See ds4d --help.", exit_code=ExitCode.REFUSED)
        return Screen(words[0], options).answer(unknown)
    from ds4d.cli.errors import attempt
    from ds4d.cli.interruption import terminable

    with Screen(words[0], options) as screen, terminable():
        outcome = attempt(lambda: import_module(COMMANDS[words[0]][1]).run(words[1:], screen))
    return ExitCode.DONE if outcome is None else screen.answer(outcome)


def _help() -> str:
    lines = [f"  {name:<10}{purpose}" for name, (purpose, _) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ds4d COMMAND ...",
            "",
            "A video of a moving object in, dynamic 3D Gaussians out.",
            "",
            *lines,
            "",
            "ds4d COMMAND --help lists the options of a command, ds4d --version says which version this is.",
            "",
            "exit codes:",
            *(f"  {int(code):<10}{meaning}" for code, meaning in MEANINGS.items()),
        ]
    )
