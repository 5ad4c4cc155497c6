"""Options made from dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from ds4d.cli.arguments import CommandLine, Flag


@dataclass(frozen=True)
class Grid:
    """A grid.

    Attributes:
        cells: number of cells per side.
        spacing: distance between cells; by default that of the data.
    """

    cells: int = 8
    spacing: float | None = None

    def __post_init__(self) -> None:
        if self.cells < 1:
            raise ValueError(f"Grid: cells must be at least 1, got {self.cells}.")


@dataclass(frozen=True)
class Settings:
    """Settings that know nothing of the command line.

    Attributes:
        kind: kind of the settings.
        grid: the grid.
        coarse: another grid.
        hidden: no option.
    """

    kind: Literal["a", "b"] | None = None
    grid: Grid = field(default_factory=Grid)
    coarse: Grid | None = None
    hidden: int = 3


@dataclass(frozen=True)
class Arguments:
    """Arguments.

    Attributes:
        source: input file.
        force: replace files.
        settings: settings.
    """

    source: Annotated[Path, tyro.conf.Positional]
    force: Flag = False
    settings: Settings = field(default_factory=Settings)


COMMAND = CommandLine(
    "test",
    Arguments,
    (("test in", "a test"),),
    basic=frozenset({"source", "settings.grid.cells"}),
    renamed={"settings.kind": "type"},
    flat=frozenset({"settings", "settings.grid"}),
    fixed=frozenset({"settings.hidden"}),
)


def test_groups_are_flat_renamed_and_fixed() -> None:
    parsed = COMMAND.parse(["in", "--cells", "4", "--spacing", "0.5", "--type", "b", "--force"])
    assert parsed == Arguments(Path("in"), True, Settings("b", Grid(4, 0.5)))
    assert type(parsed.settings.grid) is Grid
    for name in ("--grid.cells", "--kind", "--hidden", "--settings.type"):
        with pytest.raises(ValueError, match=name):
            COMMAND.parse(["in", name, "1"])


def test_defaults_are_given_at_parsing() -> None:
    settings = Settings("a", Grid(2, 1.0), Grid(1))
    assert COMMAND.parse(["in"], settings=settings).settings == settings
    changed = COMMAND.parse(["in", "--coarse.cells", "5"], settings=settings).settings
    assert changed == Settings("a", Grid(2, 1.0), Grid(5))


@pytest.mark.parametrize("word", ["auto", "none", "None"])
def test_automatic_values_can_be_chosen_again(word: str) -> None:
    settings = Settings("a", Grid(2, 1.0))
    assert COMMAND.parse(["in", "--spacing", word], settings=settings).settings.grid.spacing is None


def test_automatic_choices_can_be_chosen_again() -> None:
    assert COMMAND.parse(["in", "--type", "auto"], settings=Settings("a")).settings.kind is None


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        ([], "SOURCE|PATH"),
        (["in", "--cells", "x"], "--cells must be a whole number, got 'x'"),
        (["in", "--spacing", "x"], "--spacing must be a number, got 'x'"),
        (["in", "--type", "c"], "--type must be one of auto, a, b, got 'c'"),
        (["in", "--cells"], "--cells must"),
        (["in", "--cels", "3"], r"unknown arguments --cels 3\. Did you mean --cells\?"),
        (["in", "out"], "unknown arguments out"),
    ],
)
def test_errors_are_one_line_that_names_the_option(argv: list[str], start: str) -> None:
    with pytest.raises(ValueError, match=rf"\A({start}).*ds4d test --help\.\Z") as caught:
        COMMAND.parse(argv)
    assert "\n" not in str(caught.value)


def test_errors_that_begin_with_an_argument_name_its_option() -> None:
    for message, expected in (
        ("force must be set", "--force must be set"),
        ("Arguments: force must be set", "--force must be set"),
        ("source must exist", "source must exist"),
        ("enforce must be set", "enforce must be set"),
    ):
        with pytest.raises(ValueError, match=rf"\A{expected}\Z"), COMMAND.naming_options():
            raise ValueError(message)


def test_help_is_limited_to_basic_options() -> None:
    short, full = (" ".join(COMMAND.help(show_all=show_all).split()) for show_all in (False, True))
    for text in (short, full):
        assert "--cells INT" in text and "(default: 8)" in text and "--quiet" in text and "ds4d test in" in text
    assert "--spacing" not in short and "--help-all" in short
    assert "--spacing FLOAT" in full and "(default: chosen automatically)" in full and "--hidden" not in full


def test_help_shows_defaults_that_are_given() -> None:
    assert "(default: 77)" in COMMAND.help(show_all=True, settings=Settings(grid=Grid(77)))
