"""`ds4d weights`: the pretrained models that stages can use, where they are looked for and what is there."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from ds4d.cli.outcome import Outcome
from ds4d.cli.screen import Screen, ScreenOptions
from ds4d.weights import MODELS, PretrainedModel, faults, find_model, model_files, places, weights_digest

_COMMERCIAL = {True: "yes", False: "no", None: "it depends"}


@dataclass(frozen=True)
class WeightsArguments(ScreenOptions):
    """Lists the pretrained models that stages can use. Nothing is ever downloaded.

    Attributes:
        hash: whether to read what is present and print the SHA-256 of its files, one after the other.
    """

    hash: bool = False


def run(words: Sequence[str], screen: Screen) -> Outcome:
    """The command."""
    arguments = tyro.cli(WeightsArguments, args=list(words), prog="ds4d weights")
    rows = [_row(model, arguments.hash) for model in MODELS.values()]
    return Outcome(_table(rows), {"models": rows})


def _row(model: PretrainedModel, with_hash: bool) -> dict[str, Any]:
    """All that is known of one model, as json holds it."""
    looked = places(model)
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
        "looked_in": [
            {"place": place.name, "path": str(place.path), "faults": faults(model, place.path)} for place in looked
        ],
        "get": model.how_to_get(f"$DS4D_WEIGHTS/{model.name}"),
    }
    if with_hash:
        row["sha256"] = weights_digest(model, folder) if folder else None
    return row


def _table(rows: list[dict[str, Any]]) -> str:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "model", "present", "commercial use", "license"):
        table.add_column(name, no_wrap=name != "license")
    for row in rows:
        table.add_row(row["stage"], row["name"], _state(row), _COMMERCIAL[row["commercial"]], row["license"])
    with console.capture() as shown:
        console.print(table)
    sections = {
        "Present:": [line for row in rows if row["present"] for line in _place(row)],
        "Not usable:": [line for row in rows if not row["present"] for line in _damage(row)],
        f"Looked for in $DS4D_WEIGHTS ({os.environ.get('DS4D_WEIGHTS', 'not set')}) and in the Hugging Face cache. "
        "To get what is absent:": [row["get"] for row in rows if not row["present"]],
    }
    listed = ["\n  ".join([title, *lines]) for title, lines in sections.items() if lines]
    return "\n\n".join([shown.get().rstrip(), *listed])


def _state(row: dict[str, Any]) -> str:
    if row["present"]:
        return f"{row['bytes'] / 1e6:,.{0 if row['bytes'] > 1e7 else 3}f} MB"
    return "not usable" if _damage(row) else "-"


def _place(row: dict[str, Any]) -> list[str]:
    digest = [f"{' ' * len(row['name'])}  SHA-256 {row['sha256']}"] if "sha256" in row else []
    return [f"{row['name']}  {row['path']}", *digest]


def _damage(row: dict[str, Any]) -> list[str]:
    """What is wrong where something of an absent model lies."""
    begun = [look for look in row["looked_in"] if Path(look["path"]).exists()]
    return [f"{row['name']}  {look['path']} has {look['faults'][0].rstrip(',')}" for look in begun]
