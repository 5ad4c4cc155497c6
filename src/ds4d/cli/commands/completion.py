"""`ds4d completion`: prints a shell completion script."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Literal

import tyro

from ds4d.cli.app import COMMANDS
from ds4d.cli.arguments import CommandLine
from ds4d.cli.console import Console
from ds4d.cli.option_types import REGISTRY
from ds4d.cli.result import Outcome


@dataclass(frozen=True)
class CompletionArguments:
    """Prints a script that completes the commands and options of ds4d in a shell.

    Attributes:
        shell: shell to complete for.
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]


COMMAND = CommandLine(
    "completion",
    CompletionArguments,
    (
        ("completion bash > ~/.local/share/bash-completion/completions/ds4d", "install for bash"),
        ("completion zsh > ~/.zfunc/_ds4d", "install for zsh, with ~/.zfunc in $fpath"),
        ("completion fish > ~/.config/fish/completions/ds4d.fish", "install for fish"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    types = {name: import_module(f"ds4d.cli.commands.{name}").COMMAND.option_type() for name in COMMANDS}
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            types,
            prog="ds4d",
            args=["--tyro-print-completion", arguments.shell],
            config=(tyro.conf.AvoidSubcommands,),
            registry=REGISTRY,
        )
    return Outcome(script.getvalue().rstrip(), {"script": script.getvalue()})
