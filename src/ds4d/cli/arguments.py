"""The command line of a command: parsing and help.

tyro makes the options from a dataclass, and their help from its docstring.
"""

import contextlib
import difflib
import io
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, cast, get_args

import tyro

from ds4d.cli.checks import option
from ds4d.cli.console import ConsoleOptions
from ds4d.cli.option_types import REGISTRY, Groups, copy_as, name_option, option_type

T = TypeVar("T")

HELP_OPTIONS = ("-h", "--help", "--help-all")

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class CommandLine(Generic[T]):
    """The arguments of a command.

    Attributes:
        name: name of the command.
        arguments: dataclass of the arguments, to which `ConsoleOptions` are added; nested dataclasses are groups of
            options.
        examples: pairs of a command line, without the leading `ds4d`, and what it does.
        basic: dotted names of the fields that --help shows; all if empty. --help-all always shows all.
        renamed: names of options that are not those of their fields, by the dotted name of the field; see `Groups`.
        flat: dotted names of groups whose name is left out of their options' names.
        fixed: dotted names of fields that are no options.
    """

    name: str
    arguments: type[T]
    examples: tuple[tuple[str, str], ...]
    basic: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    _latest: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)

    def parse(self, argv: Sequence[str], **defaults: Any) -> T:
        """Parses arguments.

        Args:
            argv: the arguments after the command's name.
            defaults: default values of fields, in place of the dataclass's own.

        Raises:
            ValueError: an option is unknown or has an invalid value.
            SystemExit: help was asked for; it is printed.
        """
        if not set(HELP_OPTIONS).isdisjoint(argv):
            print(self.help(show_all="--help-all" in argv, **defaults))
            raise SystemExit(0)
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
                parsed = self._run_tyro(self.option_type(**defaults), argv)
        except SystemExit as stop:
            raise ValueError(f"{_error_message(errors.getvalue())} See ds4d {self.name} --help.") from stop
        return copy_as(parsed, self.arguments)

    @contextlib.contextmanager
    def naming_options(self) -> Generator[None]:
        """Inside the block, errors that begin with the name of an argument, `times must ...`, name its option."""
        try:
            yield
        except ValueError as error:
            options = {
                each.name: option(each.name)
                for each in fields(cast(Any, self.arguments))
                if tyro.conf.Positional not in get_args(each.type)
            }
            raise ValueError(name_option(str(error), options)) from error

    def help(self, *, show_all: bool, **defaults: Any) -> str:
        """The help text with the basic options or with all; see `parse`."""
        shown = frozenset() if show_all else self.basic
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            self._run_tyro(self.option_type(shown, **defaults), ["--help"])
        options = (line.rstrip() for line in text.getvalue().rstrip().splitlines())
        examples = [line for command, purpose in self.examples for line in (f"  # {purpose}", f"  ds4d {command}")]
        more = ["", f"ds4d {self.name} --help-all shows all options."] if shown else []
        return "\n".join([*options, "", "examples:", *examples, *more])

    def option_type(self, shown: frozenset[str] = frozenset(), **defaults: Any) -> type:
        """The dataclass that tyro reads; help is limited to the fields in `shown` if there are any."""
        asked = (shown, defaults)
        if self._latest and self._latest[0] == asked:  # as for all rows of a batch
            return self._latest[1]
        self._latest[:] = asked, self._option_type(shown, defaults)
        return self._latest[1]

    def _option_type(self, shown: frozenset[str], defaults: Mapping[str, Any]) -> type:
        kind = option_type(self.arguments, Groups(self.renamed, self.flat, self.fixed, shown), defaults=defaults)
        output: Any = option_type(ConsoleOptions, Groups())
        marks = tyro.conf.arg(name="", help="")
        console = ("console", Annotated[output, marks], field(default=output()))
        namespace = {"__doc__": self.arguments.__doc__}
        return make_dataclass(kind.__name__, [console], bases=(kind,), frozen=True, namespace=namespace)

    def _run_tyro(self, kind: type, argv: Sequence[str]) -> Any:
        return tyro.cli(
            kind, args=list(argv), prog=f"ds4d {self.name}", config=(tyro.conf.AvoidSubcommands,), registry=REGISTRY
        )


def _error_message(box: str) -> str:
    """The error that tyro prints as one line, in plain words where it is a known one.

    Args:
        box: a title, a rule of dashes, the error, and after another rule options of similar names, if there are any.
    """
    sections = re.split(r"^ +-{4,} *$", re.sub(r"\x1b\[[0-9;]*m", "", box), flags=re.MULTILINE)
    _, error, details, *_ = [*sections, "", ""]
    text = " ".join(error.split())
    for section in sections:  # the only error to name where required arguments are missing, too
        if section.strip().startswith("Unrecognized options: "):
            text = " ".join(section.split())
    if match := re.fullmatch(r"Error parsing (--\S+): (must be .*)", text):
        return f"{match[1]} {match[2]}."
    if match := re.fullmatch(r"Error parsing \S+: (--\S+ .*)", text):
        return match[1]
    if match := re.fullmatch(
        r"invalid choice '(.*)' for argument '(?:.*[/ ])?(.*)'\. Expected one of \((.*)\)\.", text
    ):
        return f"{match[2]} must be one of {match[3].replace(chr(39), '').rstrip(',')}, got {match[1]!r}."
    if match := re.fullmatch(r"Missing value for argument '(?:.*[/ ])?(.*)'\..*", text):
        return f"{match[1]} must be given a value, got none."
    if match := re.fullmatch(r"Unrecognized options: (.*)", text):
        given = match[1].split(", ")
        similar = [name for name in _invocations(details) if name not in given]
        near = difflib.get_close_matches(given[0], similar, n=1)
        return f"unknown arguments {' '.join(given)}.{f' Did you mean {near[0]}?' if near else ''}"
    if text.startswith("Missing from"):
        return f"{' and '.join(_invocations(error))} must be given."
    return text


def _invocations(listed: str) -> list[str]:
    """The options that a list of tyro's names: they are indented by six spaces, their help by more."""
    return [line.split(", ")[-1].split()[0] for line in listed.splitlines() if re.match(r" {6}\S", line)]
