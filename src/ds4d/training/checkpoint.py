"""The state of a trainer in one file, from which training resumes."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes

from ds4d.io import atomic_path, parse_json, read_safetensors
from ds4d.training.checkpoint_state import check_state
from ds4d.training.events import TrainingDiverged
from ds4d.training.trainer import Trainer

FORMAT_VERSION = 2


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Writes the trainer's state, atomically.

    Raises:
        TrainingDiverged: the scene holds NaN or Inf; an earlier checkpoint stays.
    """
    if not all(parameter.isfinite().all() for parameter in trainer.scene.parameters()):
        raise TrainingDiverged(trainer.step, {})
    state = _flatten(trainer.state_dict())
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    values = {name: value for name, value in state.items() if name not in tensors}
    metadata = {"ds4d": json.dumps({"format": FORMAT_VERSION, "values": values})}
    with atomic_path(path) as partial:
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        partial.write_bytes(to_bytes(contiguous, metadata=metadata))


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Brings a trainer made for the same video and config to the state in which `save_checkpoint` was called.

    Raises:
        ValueError: the file is missing, damaged, of another format, or of a trainer with other settings.
    """
    if not path.is_file():
        raise ValueError(f"checkpoint: {path} must exist, got none. Start without --resume.")
    try:
        tensors, metadata = read_safetensors(path)
        record = parse_json(metadata["ds4d"])
        version = record["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is damaged ({error}). Start without --resume.") from error
    if version != FORMAT_VERSION:
        reader = "ds4d 0.1" if version == 1 else "a newer ds4d"
        raise ValueError(
            f"checkpoint: {path} must have format {FORMAT_VERSION}, got {version}. Resume with {reader}, which "
            "reads it, or start without --resume."
        )
    try:
        state = _unflatten({**tensors, **record["values"]})
        state.setdefault("optimizer", {})  # which is empty before the first step, and so left no trace
        check_state(trainer, state)
        trainer.load_state_dict(state)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"checkpoint: {path} must be of a run with the same settings, but its state does not fit ({error}). "
            "Use the settings it was started with."
        ) from error


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
