"""Which models are trained on and which are held out."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds4d.lift_training.posed_models import find_models
from ds4d.lift_training.settings import DataSettings


@dataclass(frozen=True)
class Split:
    """Files of models, relative to their folder.

    Attributes:
        train: files to train on.
        validation: files that are held out.
        groups: label of each file; files of one group share a rig.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    groups: dict[str, str]


def split_models(folder: Path, settings: DataSettings) -> Split:
    """The split in the folder's split.json, or else one by the hash of each file's group.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder has no models, split.json or models.json is damaged, or nothing is left to train on.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"data must be a folder of .glb or .gltf files, got {folder}. Check the path.")
    files = [path.relative_to(folder).as_posix() for path in find_models(folder)]
    if not files:
        raise ValueError(f"data must be a folder of .glb or .gltf files, got none in {folder}. Check the path.")
    groups = {file: file for file in files} | _groups(folder / "models.json")
    given = _read(folder / "split.json", dict) or {}
    if given:
        held_out = set(_strings(given.get("validation", ()), folder / "split.json"))
    else:
        held_out = {file for file in files if _chance(groups[file]) < settings.validation}
    left_out = {file for file in files if groups[file].startswith(settings.without_groups or "\0")}
    train = tuple(file for file in files if file not in held_out | left_out)
    if not train:
        raise ValueError(f"{folder} must hold models to train on, got {len(files)}, all held out. Give more.")
    return Split(train, tuple(file for file in files if file in held_out), groups)


def _groups(path: Path) -> dict[str, str]:
    records = _read(path, list) or []
    return {record["file"]: str(record["rig_id"]) for record in records if {"file", "rig_id"} <= set(record)}


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got {error}. Correct it or remove it.") from error
    if not isinstance(found, kind):
        raise ValueError(f"{path} must hold a JSON {kind.__name__}, got {type(found).__name__}. Correct it.")
    return found


def _strings(found: Iterable[Any], path: Path) -> list[str]:
    names = list(found)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} must list file names, got {names[:3]}. Correct it.")
    return names


def _chance(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
