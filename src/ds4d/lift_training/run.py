"""A whole training: models in, network with its card out."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ds4d.core import choose_device
from ds4d.lift_training.appearance import AppearanceSettings
from ds4d.lift_training.data import Split, split_models
from ds4d.lift_training.loop import Step, Trainer, process_group, state_path
from ds4d.lift_training.model_pool import PROCEDURAL, ModelPool
from ds4d.lift_training.posed_models import NO_VARIATIONS, load_models
from ds4d.lift_training.procedural import random_creatures
from ds4d.lift_training.rig_variations import RigVariationSettings
from ds4d.lift_training.settings import TrainSettings
from ds4d.lift_training.validation import ValidationImages, validate, validation_images
from ds4d.multiview.lift.checkpoint import save_network


def train(settings: TrainSettings, *, report: Callable[[str], None]) -> dict[str, Any]:
    """Trains a network and writes it, its card and its resumable state.

    Args:
        settings: settings.
        report: gets lines of text for people.

    Returns:
        The card: images so far, and for each run its settings, data, and figures on the models that were held out.

    Raises:
        FileNotFoundError: the folder of models, or the network to continue, does not exist.
        ValueError: no model can be read, or the file to continue is damaged or of another size.
    """
    rank, processes = process_group()
    say = report if rank == 0 else (lambda _: None)
    device = choose_device(settings.device)
    if device.type == "cuda" and processes > 1:
        device = torch.device(device.type, rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    split = split_models(settings.data, settings.models)
    varied = settings.models.variations
    pool = _pool(split.train, split, settings, device, say, variations=varied, procedural=settings.models.procedural)
    trainer = Trainer(settings, pool, rank=rank, processes=processes)
    held_out: list[ValidationImages] = []
    figures: dict[str, dict[str, float]] = {}
    if rank == 0 and split.validation:
        held_out = _held_out(split, settings, device, say)
        figures["inflate"] = validate(None, held_out)
        say(f"held-out models, inflated masks: {_figures(figures['inflate'])}")
    log = _writer(settings.log) if rank == 0 else None
    saved = 0.0
    for step in trainer.run():
        say(_line(step))
        if rank == 0 and step.seconds >= saved + 60 * settings.save_minutes:
            saved = step.seconds
            _save(trainer, _card(trainer, split, figures))
        if log is not None:
            for name, value in {"loss": step.loss, **step.terms, "images_per_second": step.per_second}.items():
                log.add_scalar(name, value, step.images)
    if rank != 0:
        return {}
    _save(trainer, _card(trainer, split, figures))
    if held_out:
        figures["network"] = validate(trainer.average.eval(), held_out)
        say(f"held-out models, the network: {_figures(figures['network'])}")
        if log is not None:
            for name, value in figures["network"].items():
                log.add_scalar(f"held_out/{name}", value, trainer.images)
    card = _card(trainer, split, figures)
    save_network(settings.out, trainer.average, card)
    return card


def _card(trainer: Trainer, split: Split, figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the network's file says of its training so far."""
    procedural = trainer.settings.models.procedural
    run = {
        "images": trainer.images,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "models": {
            "files": len(trainer.pool) - procedural,
            "procedural": procedural,
            "held_out": len(split.validation),
        },
        "held_out_figures": figures,
        "settings": _plain(asdict(trainer.settings)),
    }
    return {"images": trainer.images, "runs": [*trainer.earlier_runs, run]}


def _save(trainer: Trainer, card: dict[str, Any]) -> None:
    trainer.save_state(state_path(trainer.settings.out))
    save_network(trainer.settings.out, trainer.average, card)


def _pool(
    files: tuple[str, ...],
    split: Split,
    settings: TrainSettings,
    device: torch.device,
    say: Callable[[str], None],
    *,
    variations: RigVariationSettings = NO_VARIATIONS,
    procedural: int = 0,
) -> ModelPool:
    """The models in these files, and random creatures; files that cannot be read are named."""
    models, unreadable = load_models(
        [settings.data / file for file in files],
        num_poses=settings.models.poses,
        num_samples=settings.models.samples,
        seed=settings.seed,
        variations=variations,
        workers=settings.models.workers,
    )
    for path, reason in unreadable:
        say(f"left out {path}: {reason}")
    refused = {path for path, _ in unreadable}
    groups = [split.groups[file] for file in files if settings.data / file not in refused]
    say(f"{len(models)} models to train on or to validate with, {len(unreadable)} left out")
    if procedural:
        models += random_creatures(
            procedural,
            num_poses=settings.models.poses,
            num_samples=settings.models.samples,
            seed=settings.seed,
            workers=settings.models.workers,
        )
        groups += [PROCEDURAL] * procedural
    return ModelPool(models, groups, device, shares=settings.models.shares)


def _held_out(
    split: Split, settings: TrainSettings, device: torch.device, say: Callable[[str], None]
) -> list[ValidationImages]:
    pool = _pool(split.validation, split, settings, device, say)
    plain = AppearanceSettings(repaint=0.0, mix=0.0, pattern=0.0)
    images = validation_images(
        pool, settings.validate_images, settings.network.size, settings.cameras, plain, seed=settings.seed
    )
    return list(images)


def _writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    from tensorboard.summary import Writer

    return Writer(str(folder))


def _line(step: Step) -> str:
    terms = " ".join(f"{name} {value:.4f}" for name, value in step.terms.items())
    return (
        f"{step.seconds:6.0f} s  {step.images / 1e6:7.3f} M images  {step.per_second:6.0f}/s  "
        f"loss {step.loss:.4f}  {terms}  rate {step.learning_rate:.1e}"
    )


def _figures(figures: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _plain(value: Any) -> Any:
    """Settings as JSON: paths become their text."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
