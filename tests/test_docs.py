"""The documentation is true to the code: code blocks run, and every path, name and option exists."""

import contextlib
import io
import json
import re
import shlex
import shutil
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
import tyro

from ds4d.cli import COMMANDS, main
from ds4d.cli.arguments import CommandLine
from ds4d.config import GenerateConfig
from ds4d.data.synthetic import SampleConfig, write_sample
from ds4d.lift_training import TrainSettings
from ds4d.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "ds4d"
PAGES = {
    **{path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))},
    "README": ROOT / "README.md",
    "CONTRIBUTING": ROOT / "CONTRIBUTING.md",
}
# Pages that report measurements: they name commands and commits of the past as they were.
RECORDS = {"log", "results", "benchmarks"}
each_page = pytest.mark.parametrize("page", PAGES)
each_current_page = pytest.mark.parametrize("page", sorted(PAGES.keys() - RECORDS))


def text_of(page: str) -> str:
    """The source of a page."""
    return PAGES[page].read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language; each keeps its line numbers, for error messages."""
    text = text_of(page)
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return ["\n" * text[: match.start(1)].count("\n") + match.group(1) for match in found]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch, quick_config: GenerateConfig) -> None:
    """Presets of a few steps on small images."""
    training = replace(quick_config.training, static_steps=4, dynamic_steps=8)
    small = replace(quick_config, training=training, views=replace(quick_config.views, size=48))
    for name in PRESETS:
        monkeypatch.setitem(PRESETS, name, lambda: small)


@pytest.fixture(scope="module")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ds4d sample` writes, of small images; not to be written into."""
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample(folder, SampleConfig(frames=4, size=32, supersampling=1))
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks_run(
    page: str, tmp_path: Path, small_sample: Path, monkeypatch: pytest.MonkeyPatch, few_steps: None
) -> None:
    """In order, in one namespace, where `ds4d sample demo/data` was run; with presets of a few steps."""
    shutil.copytree(small_sample, tmp_path / "demo" / "data")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, f"{page}.md", "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "json")])
def test_json_blocks_are_json(page: str) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@each_page
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#:]*)(?:#([^)]*))?\)", text_of(page)):
        path = PAGES[page].parent / target if target else PAGES[page]
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles], anchor


def code_spans(page: str) -> list[str]:
    """What stands between backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", prose(page))


@each_current_page
def test_paths_exist(page: str) -> None:
    """Paths of the repository; names of files that a run writes have no folder of ours before them."""
    folders = {path.name for path in [*ROOT.iterdir(), *SRC.iterdir()] if path.is_dir() and path.name[0] != "."}
    missing = [
        span
        for span in code_spans(page)
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", span) and "/" in span and span.split("/")[0] in folders - {"demo"}
        if not any((base / span).exists() for base in (ROOT, SRC)) and "mine" not in span
    ]
    assert not missing


@cache
def words_of_sources() -> set[str]:
    """All identifiers and other words of the sources, tests, benchmarks and examples."""
    texts = (
        path.read_text(encoding="utf-8")
        for folder in (SRC, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples")
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".py", ".js", ".html"} and path != Path(__file__).resolve()
    )
    return {word for text in texts for word in re.findall(r"\w+", text)}


@each_current_page
def test_names_exist(page: str) -> None:
    """Every identifier in code style occurs somewhere in the sources, part by part."""
    names = [span for span in code_spans(page) if re.fullmatch(r"[A-Za-z_][\w.]*(\(\))?", span)]
    parts = {part for name in names for part in name.removesuffix("()").split(".") if part}
    missing = sorted(parts - words_of_sources())
    assert not [name for name in missing if name not in EXTERNAL]


# Programs, formats and names of other projects that the documentation mentions in code style.
EXTERNAL = {"as_html", "ruff", "make", "rembg", "splat", "webm", "pytest"}


def command_lines(page: str) -> list[list[str]]:
    """The `ds4d` commands in indented blocks, split as a shell does; what follows three spaces is a remark."""
    lines = re.findall(r"^    (ds4d .*)$", prose(page), flags=re.MULTILINE)
    return [shlex.split(re.split(r" {3,}|  #| [>|] ", line)[0]) for line in lines]


def command(name: str) -> CommandLine:
    """The arguments of a command."""
    return import_module(f"ds4d.cli.commands.{name}").COMMAND


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)])
def test_commands_can_be_parsed(page: str) -> None:
    for _, name, *argv in command_lines(page):
        if name != "COMMAND":
            command(name).parse(argv)


@cache
def options_of_commands() -> set[str]:
    """All options of all commands, as their help shows them."""
    helps = "\n".join(command(name).help(show_all=True) for name in COMMANDS)
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", helps))


@cache
def options_of_the_training() -> set[str]:
    """The options of `python -m ds4d.lift_training`."""
    helps = io.StringIO()
    with contextlib.redirect_stdout(helps), contextlib.suppress(SystemExit):
        tyro.cli(TrainSettings, args=["--help"])
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", helps.getvalue()))


@each_current_page
def test_options_exist(page: str) -> None:
    found = {
        option
        for span in code_spans(page)
        if not span.startswith("python ")
        for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", span)
    }
    missing = sorted(found - options_of_commands() - options_of_the_training()) if found else []
    assert not [option for option in missing if option not in EXTERNAL_OPTIONS]


# Options of other programs, and those that every command understands.
EXTERNAL_OPTIONS = {
    "--training.losses.mine.weight",
    "--training.losses.mine.views",
    "--views-mine",
    "--mine",
    "--help",
    "--help-all",
    "--version",
    "--pictured-run",
    "--save-screenshots",
    "--check",
}


def test_commands_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_steps: None, capsys: pytest.CaptureFixture
) -> None:
    """In order, on stand-ins of the data, with presets of a few steps; `viewer` serves until Ctrl-C and is left out."""
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "scene", SampleConfig(frames=4, size=48, supersampling=1))
    (tmp_path / "scene" / "transforms_mv.json").rename(tmp_path / "scene" / "transforms_train.json")
    shutil.copy(tmp_path / "scene" / "front.mp4", tmp_path / "video.mp4")
    assert main(["multiview", "video.mp4", "-o", "minions", "--size", "48"]) == 0
    for _, name, *argv in command_lines("README"):
        if name in ("COMMAND", "viewer", "generate") and (
            name != "generate" or Path(argv[argv.index("-o") + 1]).exists()
        ):
            continue
        assert main([name, *argv]) == 0, f"ds4d {name} {shlex.join(argv)}: {capsys.readouterr().err}"


def table(page: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, cell by cell."""
    text = text_of(page).split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in rows[2:]]


def test_functions_of_the_paper_are_in_the_files_that_are_named() -> None:
    rows = table("how_it_works", "From the paper to functions")
    assert len(rows) > 15
    for _, _, functions, files in rows:
        paths: list[Path] = []
        for name in re.findall(r"`([^`]+)`", files):
            path = SRC / name
            paths.append(path if path.is_file() else paths[-1].parent / name)  # a file beside the one before it
        sources = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        for name in re.findall(r"`([^`]+)`", functions):
            assert all(re.search(rf"\b{part}\b", sources) for part in name.split(".")), f"{name}: {files}"


def test_the_table_of_packages_is_the_order_that_is_checked() -> None:
    listed = [name for cells in table("CONTRIBUTING", "Layout") for name in re.findall(r"`(\w+)`", cells[0])]
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.findall(r'"(\w+)"', config.split("layers = [")[1].split("]")[0])
    assert listed == [layer for layer in layers if layer != "__main__"]
