"""A fit interrupted and taken up again: one file that holds all that the next step depends on."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from ds4d.io import atomic_path
from ds4d.training.events import TrainingDiverged
from ds4d.training.trainer import Trainer

FORMAT_VERSION = 1


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Writes the scene, the optimizer's moments, density statistics and random state of a fit, atomically.

    Raises:
        TrainingDiverged: the scene holds NaN or Inf; the last good checkpoint stays.
    """
    if not all(parameter.isfinite().all() for parameter in trainer.scene.parameters()):
        raise TrainingDiverged(trainer.step, {})
    tensors = {f"scene.{name}": value for name, value in trainer.scene.state_dict().items()}
    tensors |= {f"adam.{name}": value for name, value in trainer.optimizer.tensors().items()}
    if trainer.view_correction is not None:
        tensors |= {f"view_correction.{name}": value for name, value in trainer.view_correction.state_dict().items()}
    tensors["density.grad2d"] = trainer.density.grad2d
    tensors["density.counts"] = trainer.density.counts
    tensors["neighbors"] = trainer.neighbors
    tensors["generator"] = trainer.generator.get_state()
    record = {
        "format": FORMAT_VERSION,
        "step": trainer.step,
        "seconds": trainer.seconds,
        "num_gaussians": trainer.scene.gaussians.num_gaussians,
        "sampler": trainer.sampler.state(),
    }
    with atomic_path(path) as partial:
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        partial.write_bytes(to_bytes(contiguous, metadata={"ds4d": json.dumps(record)}))


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Brings a trainer that was made with the same clip and config to where `save_checkpoint` was called.

    On the CPU the fit that goes on from here equals the one that was never interrupted, bit for bit.

    Raises:
        ValueError: the file is missing, damaged, of another version, or of a fit of another shape.
    """
    if not path.is_file():
        raise ValueError(f"checkpoint: {path} must exist, got none. Start without --resume.")
    try:
        with safe_open(str(path), framework="pt") as file:
            record = json.loads((file.metadata() or {})["ds4d"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is damaged ({error}). Start without --resume.") from error
    if record["format"] != FORMAT_VERSION:
        raise ValueError(f"checkpoint: {path} must have format {FORMAT_VERSION}, got {record['format']}.")
    device = trainer.scene.device
    trainer.scene.gaussians.resize(record["num_gaussians"])
    try:
        trainer.scene.load_state_dict(_part(tensors, "scene."))
        if trainer.view_correction is not None:
            trainer.view_correction.load_state_dict(_part(tensors, "view_correction."))
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint: {path} belongs to a fit of another shape ({error}). Use the settings it was started with."
        ) from error
    trainer.optimizer.restore(_part(tensors, "adam."))
    trainer.density.grad2d = tensors["density.grad2d"].to(device)
    trainer.density.counts = tensors["density.counts"].to(device)
    trainer.neighbors = tensors["neighbors"].to(device)
    trainer.generator.set_state(tensors["generator"])
    trainer.sampler.restore(record["sampler"])
    trainer.step = record["step"]
    trainer.seconds = record["seconds"]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
