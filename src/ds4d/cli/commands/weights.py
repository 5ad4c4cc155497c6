"""`ds4d weights`: lists pretrained models, where they are searched for and what was found."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console as RichConsole
from rich.table import Table

from ds4d.cli.arguments import CommandLine, Flag
from ds4d.cli.console import Console
from ds4d.cli.result import ExitCode, Outcome
from ds4d.io import check_writable
from ds4d.weights import (
    MODELS,
    PretrainedModel,
    download_folder,
    fetch,
    find_model,
    model_files,
    problems,
    search_paths,
    weights_digest,
)

_COMMERCIAL = {True: "yes", False: "no", None: "depends"}


@dataclass(frozen=True)
class WeightsArguments:
    """Lists the pretrained models that a run can use, or downloads one.

    Nothing is downloaded but by ds4d weights fetch MODEL, which shows the license and asks first.

    Attributes:
        action: list, or fetch to download a model.
        model: model to fetch.
        yes: download without asking.
        hash: print the SHA-256 hash of the files of every installed model, which reads them all.
    """

    action: Annotated[Literal["list", "fetch"], tyro.conf.Positional] = "list"
    model: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL", help_behavior_hint="(default: none)")
    ] = ""
    yes: Flag = False
    hash: Flag = False


COMMAND = CommandLine(
    "weights",
    WeightsArguments,
    (
        ("weights", "list the pretrained models and how to get them"),
        ("weights fetch matting", "download a matting model (Apache-2.0), for videos without a plain background"),
        ("weights --hash", "also print the hashes of those that are installed"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    if arguments.action == "fetch":
        return _fetch(arguments, console)
    if arguments.model or arguments.yes:
        raise ValueError("a model and --yes belong to `ds4d weights fetch MODEL`, got them without fetch. Add it.")
    rows = [_row(model, arguments.hash) for model in MODELS.values()]
    return Outcome(_table(rows), {"models": rows})


def _fetch(arguments: WeightsArguments, console: Console) -> Outcome:
    offered = [name for name, model in MODELS.items() if model.download]
    if arguments.model not in offered:
        raise ValueError(f"the model to fetch must be one of {', '.join(offered)}, got {arguments.model or 'none'!r}.")
    download = MODELS[arguments.model].download
    assert download is not None
    folder = download_folder(arguments.model)
    path = folder / download.file
    described = (
        f"{download.title}, {download.size / 1e6:.0f} MB, license {download.license}, by {download.authors}: "
        f"{download.url}"
    )
    if path.is_file():
        return Outcome(f"{path} is there already", {"path": str(path), "sha256": download.sha256})
    if not arguments.yes:
        _confirm(described, path, console)
    check_writable(folder)
    try:
        fetch(download, folder)
    except OSError as error:
        error_text = f"{download.url} cannot be downloaded ({' '.join(str(error).split())[:200]})."
        by_hand = f"Get it on another machine and put it at {path}; its SHA-256 must be {download.sha256}."
        return Outcome(error=f"{error_text} {by_hand}", exit_code=ExitCode.FAILURE)
    return Outcome(described, {"path": str(path), "sha256": download.sha256}, [path], ["ds4d weights"])


def _confirm(described: str, path: Path, console: Console) -> None:
    """Asks whether to download; refuses without a terminal."""
    if console.options.json or console.options.quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ValueError(
            f"a download must be agreed to, got no --yes. This would write {path}: {described}. Add --yes."
        )
    console.print(f"{described}\nwill be written to {path}")
    console.release()
    print("Download it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ValueError("a download must be agreed to, got no. Nothing was downloaded.")


def _row(model: PretrainedModel, with_hash: bool) -> dict[str, Any]:
    """One model as JSON holds it."""
    folder = find_model(model)
    row: dict[str, Any] = {
        "name": model.name,
        "title": model.title,
        "stage": model.stage,
        "license": model.license,
        "commercial": model.commercial,
        "present": folder is not None,
        "path": str(folder) if folder else None,
        "bytes": sum(file.stat().st_size for file in model_files(model, folder)) if folder else None,
        "searched": [
            {"name": found.name, "path": str(found.path), "problems": problems(model, found.path)}
            for found in search_paths(model)
        ],
        "get": model.how_to_get(f"$DS4D_WEIGHTS/{model.name}"),
    }
    if with_hash:
        row["sha256"] = weights_digest(model, folder, reuse=False) if folder else None
    return row


def _table(rows: list[dict[str, Any]]) -> str:
    console = RichConsole(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "model", "present", "commercial use", "license"):
        table.add_column(name, no_wrap=name != "license")
    for row in rows:
        table.add_row(row["stage"], row["name"], _state(row), _COMMERCIAL[row["commercial"]], row["license"])
    with console.capture() as shown:
        console.print(table)
    sections = {
        "Present:": [line for row in rows if row["present"] for line in _location(row)],
        "Incomplete:": [line for row in rows if not row["present"] for line in _problems(row)],
        f"Searched in $DS4D_WEIGHTS ({os.environ.get('DS4D_WEIGHTS', 'not set')}) and in the Hugging Face cache. "
        "To install the others:": [row["get"] for row in rows if not row["present"]],
    }
    listed = ["\n  ".join([title, *lines]) for title, lines in sections.items() if lines]
    return "\n\n".join([shown.get().rstrip(), *listed])


def _state(row: dict[str, Any]) -> str:
    if row["present"]:
        return f"{row['bytes'] / 1e6:,.{0 if row['bytes'] > 1e7 else 3}f} MB"
    return "incomplete" if _problems(row) else "-"


def _location(row: dict[str, Any]) -> list[str]:
    digest = [f"{' ' * len(row['name'])}  SHA-256 {row['sha256']}"] if "sha256" in row else []
    return [f"{row['name']}  {row['path']}", *digest]


def _problems(row: dict[str, Any]) -> list[str]:
    """The problems of models that are partly installed."""
    incomplete = [found for found in row["searched"] if Path(found["path"]).exists()]
    return [f"{row['name']}  {found['path']}: {found['problems'][0]}" for found in incomplete]
