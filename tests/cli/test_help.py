"""Help of all commands, and shell completion made from it."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from ds4d.cli import COMMANDS
from ds4d.cli.arguments import CommandLine
from ds4d.cli.result import MEANINGS

SHORTENED = ("generate", "multiview")  # commands whose --help leaves options out


def command_line(name: str) -> CommandLine:
    return import_module(f"ds4d.cli.commands.{name}").COMMAND


@pytest.fixture(autouse=True)
def _one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which groups of options are printed below each other."""
    monkeypatch.setenv("COLUMNS", "100")


def options(text: str) -> Iterator[tuple[str, str]]:
    """The options in a help text with their help."""
    for block in re.split(r"^  (?=--?\w)", text.partition("\nexamples:")[0], flags=re.MULTILINE)[1:]:
        lines = re.split(r"\n\n|\n -", block)[0]
        invocation, _, help_text = re.sub(r" {2,}|\n *", "\n", lines, count=1).partition("\n")
        yield invocation, " ".join(help_text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help_that_reads_by_itself(command: str) -> None:
    for name, text in options(command_line(command).help(show_all=True)):
        if name == "-h, --help":
            continue
        assert re.search(r"\w.* \((default: \S.*|required)\)$", text), name
        assert not re.match(r"(of|its|their|for|in|by)\b", text), (name, text)
        assert not re.search(r"\bNone:|if None\b|default: None|<class|NoneType|\bTrue\b|\bFalse\b", text), (name, text)
        assert "None" not in name, name


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_parsed(command: str) -> None:
    examples = command_line(command).examples
    assert 1 < len(examples) <= 4
    for example, purpose in examples:
        name, *argv = shlex.split(example.partition(" > ")[0])
        assert name == command and purpose
        command_line(command).parse(argv)


@pytest.mark.parametrize("command", SHORTENED)
def test_help_shows_the_options_of_everyday_use(command: str) -> None:
    short, full = command_line(command).help(show_all=False), command_line(command).help(show_all=True)
    assert len(dict(options(short))) <= 27 and len(dict(options(full))) > 30
    assert set(dict(options(short))) < set(dict(options(full)))
    assert "--help-all" in short and "--help-all" not in full


def test_help_options(ds4d: Callable) -> None:
    texts = [ds4d("multiview", option) for option in ("--help", "-h", "--help-all")]
    assert all(done.code == 0 and done.out.startswith("usage: ds4d multiview ") for done in texts)
    assert texts[0].out == texts[1].out and len(texts[2].out) > len(texts[0].out)


@pytest.mark.parametrize("command", SHORTENED)
def test_names_of_everyday_options_exist(command: str) -> None:
    line = command_line(command)
    for dotted in line.basic | line.flat | line.fixed | set(line.renamed):
        value = line.arguments
        for name in dotted.split("."):
            value = value.__dataclass_fields__[name].type


def test_help_of_ds4d(ds4d: Callable) -> None:
    """The wording of the help that is not made from option types."""
    done = ds4d("--help")
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0] == "usage: ds4d COMMAND ..."
    assert lines[2] == "Reconstructs dynamic 3D Gaussians from a video of a moving object."
    assert [line.split()[0] for line in lines[lines.index("commands:") + 1 :][: len(COMMANDS)]] == list(COMMANDS)
    assert lines[lines.index("exit codes:") + 1 :] == [f"  {code:<12}{text}" for code, text in MEANINGS.items()]
    assert MEANINGS[2] == "invalid arguments or input"


@pytest.fixture(scope="session")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    path = tmp_path_factory.mktemp("completion") / "ds4d.bash"
    argv = [sys.executable, "-m", "ds4d", "completion", "bash"]
    path.write_text(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["vie"], ["viewer"]),
        (["multi"], ["multiview"]),
        (["generate", "--resu"], ["--resume"]),
        (["generate", "in", "--training.densification.ev"], ["--training.densification.every"]),
        (["export", "run", "--format", "comp"], ["compressed-ply"]),
    ],
)
def test_bash_completes_commands_options_and_choices(bash_script: Path, typed: list[str], expected: list[str]) -> None:
    words = shlex.join(["ds4d", *typed])
    script = f"""
        source {shlex.quote(str(bash_script))}
        complete -p ds4d >/dev/null || exit 3
        function=$(complete -p ds4d | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=({words}); COMP_CWORD={len(typed)}; $function
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, expected), done.stderr


@pytest.mark.parametrize(("shell", "start"), [("zsh", "#compdef ds4d"), ("fish", "#")])
def test_scripts_of_other_shells_hold_commands_and_options(ds4d: Callable, shell: str, start: str) -> None:
    done = ds4d("completion", shell)
    assert done.code == 0 and done.out.startswith(start)
    assert "multiview" in done.out and "--generated-weight" in done.out
