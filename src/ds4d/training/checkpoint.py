"""The state of a trainer in one file, from which training resumes.

The file before it is kept, too: if the last one is damaged, training resumes from there.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from ds4d.core import Warned, notify
from ds4d.io import (
    DIGEST,
    DamagedFileError,
    atomic_path,
    encode_tensors,
    is_finite,
    parse_json,
    read_tensors,
    write_parts,
)
from ds4d.training.checkpoint_state import check_state
from ds4d.training.events import TrainingDiverged
from ds4d.training.trainer import Trainer

FORMAT_VERSION = 3


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Writes the trainer's state, atomically and so that it survives a power cut; the state before it is kept.

    Raises:
        TrainingDiverged: the scene holds NaN or Inf; an earlier checkpoint stays.
    """
    if not all(is_finite(parameter.detach()) for parameter in trainer.scene.parameters()):
        raise TrainingDiverged(trainer.step, {})
    state = _flatten(trainer.state_dict())
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    values = {name: value for name, value in state.items() if name not in tensors}
    metadata = {"ds4d": json.dumps({"format": FORMAT_VERSION, "values": values})}
    with atomic_path(path, durable=True) as partial:
        write_parts(partial, encode_tensors(tensors, metadata))
        if path.is_file():
            _keep(path)


def previous_checkpoint(path: Path) -> Path:
    """The path at which the state before the last is kept."""
    return path.with_name(f"previous{path.suffix}")


def has_checkpoint(path: Path) -> bool:
    """Whether there is a state to resume from."""
    return path.is_file() or previous_checkpoint(path).is_file()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, for `ds4d.training.continuation`: nested dicts of tensors and numbers.

    Raises:
        ValueError: the file is missing, damaged, or of another format.
    """
    if not has_checkpoint(path):
        raise ValueError(f"checkpoint: {path} must exist, got none. Start the run anew in another folder.")
    return _unflatten(_read_last(path))


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Brings a trainer made for the same video and config to the state in which `save_checkpoint` was called.

    Raises:
        ValueError: the file is missing, damaged, of another format, or of a trainer with other settings.
    """
    if not has_checkpoint(path):
        raise ValueError(f"checkpoint: {path} must exist, got none. Start without --resume.")
    values = _read_last(path)
    try:
        state = _unflatten(values)
        for name in ("optimizer", "average", "early_end"):  # which may be empty, and so left no trace
            state.setdefault(name, {})
        check_state(trainer, state)
        trainer.load_state_dict(state)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"checkpoint: {path} must be of a run with the same settings, but its state does not fit ({error}). "
            "Use the settings it was started with."
        ) from error


def _read_last(path: Path) -> dict[str, Any]:
    """The flat state in the last file, or in the one before it if that is missing or damaged."""
    previous = previous_checkpoint(path)
    if not previous.is_file():
        return _read(path)
    try:
        return _read(path)
    except (DamagedFileError, FileNotFoundError):
        values = _read(previous)
        path.unlink(missing_ok=True)  # so that it is never kept in place of the good one
        message = f"{path} is missing or damaged: the fit goes on from {previous.name}, which is of an earlier step."
        notify(Warned("checkpoint", message))
        return values


def _read(path: Path) -> dict[str, Any]:
    """The flat state in a file.

    Raises:
        DamagedFileError: it is not as it was written.
        ValueError: it has another format.
    """
    try:
        tensors, metadata = read_tensors(path)
        record = parse_json(metadata["ds4d"])
        version = record["format"]
        if version == FORMAT_VERSION:
            _ = metadata[DIGEST]
            return {**tensors, **record["values"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"checkpoint: {path} is damaged ({error}). Remove it with the files beside it, and resume: the fit begins "
            "anew."
        ) from error
    reader = {1: "ds4d 0.1", 2: "the ds4d that wrote it"}.get(version, "a newer ds4d")
    raise ValueError(
        f"checkpoint: {path} must have format {FORMAT_VERSION}, got {version}. Resume with {reader}, which reads it, "
        "or start in another folder."
    )


def _keep(path: Path) -> None:
    """Gives the last file its second name, which it has alone once it is replaced."""
    previous = previous_checkpoint(path)
    try:
        with atomic_path(previous) as link:
            os.link(path, link)
    except OSError:  # a file system without links
        os.replace(path, previous)


def _flatten(state: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by their path, as in `scene/gaussians.means`."""
    flat: dict[str, Any] = {}
    for name, value in state.items():
        flat |= _flatten(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        part = state
        for parent in parents:
            part = part.setdefault(parent, {})
        part[name] = value
    return state
