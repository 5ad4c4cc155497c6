"""What a run is asked to do, checked before any work."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import Warned, notify, with_overrides
from ds4d.data import is_view_folder
from ds4d.features import dinov2_weights
from ds4d.metrics.lpips import NETWORK
from ds4d.presets import PRESETS, default_preset
from ds4d.runs import RunFolder, RunRecord, read_record
from ds4d.training import check_tensorboard
from ds4d.weights import MODELS, PretrainedModel, find_model


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do.

    Attributes:
        folder: folder of the run.
        device: device to work on.
        record: input and settings.
        resume: whether the run in the folder is continued.
    """

    folder: RunFolder
    device: torch.device
    record: RunRecord
    resume: bool


def resolve_config(
    preset: str | None,
    config: GenerateConfig | str | PathLike[str] | None,
    overrides: Mapping[str, Any] | None,
    seed: int | None,
    device: torch.device,
) -> GenerateConfig:
    """The settings of a run from what `iter_run` takes; see there.

    Raises:
        ValueError: preset and config are both given, or a preset, a file or an override is unfit.
    """
    if preset is not None and config is not None:
        raise ValueError(f"config must be given alone, got preset {preset!r} as well. Leave one of them out.")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}.")
    if config is None:
        settings = PRESETS[preset or default_preset(device)]()
    else:
        settings = config if isinstance(config, GenerateConfig) else read_record(Path(config)).config
    settings = with_overrides(settings, overrides or {})
    return settings if seed is None else with_overrides(settings, {"seed": seed})


def check_request(
    input: str | PathLike[str], output: str | PathLike[str], config: GenerateConfig, device: torch.device, resume: bool
) -> RunRequest:
    """Checks everything that can be checked without reading the input.

    Raises:
        ValueError: there is no such input, the output folder is unfit, or another run is in it.
        ImportError: an optional package that the settings need is not installed.
    """
    path, folder = Path(input), RunFolder(Path(output))
    if not path.exists():
        raise ValueError(
            f"input must be a video file or a folder of frames or views, got {str(input)!r}, where there is nothing. "
            "Check the path; addresses on the web are not downloaded."
        )
    record = RunRecord(path.resolve(), device.type, config)
    if not config.allow_missing_weights:
        record = _use_pretrained(record)
    if resume:
        begun = folder.read_resumable(record)
        record = replace(record, views_source=begun.views_source, features_kind=begun.features_kind)
        if begun.ds4d != __version__:
            message = (
                f"the run was started by ds4d {begun.ds4d} and is resumed by ds4d {__version__}: the result may differ "
                "from that of either. Use one version for comparable results."
            )
            notify(Warned("version", message))
    else:
        folder.check_unused()
    folder.check_writable()
    if config.log.tensorboard:
        check_tensorboard()
    return RunRequest(folder, device, record, resume)


def _use_pretrained(record: RunRecord) -> RunRecord:
    """The record with the pretrained network wherever the settings leave the choice.

    Raises:
        ValueError: weights of a network that the settings use are missing; the message names them all.
    """
    config = record.config
    if config.views.source == "auto" and not is_view_folder(record.input):
        record = replace(record, views_source="zero123plus")
    if config.features.kind == "auto":
        record = replace(record, features_kind="dinov2")
    needed = _used_models(record.resolved_config)
    if missing := [model for model, given in needed if find_model(model, given) is None]:
        names = ", ".join(model.title for model in missing)
        commands = "; ".join(model.how_to_get(f"$DS4D_WEIGHTS/{model.name}") for model in missing)
        raise ValueError(
            f"weights of all networks that these settings use must be found, got none of {names}. Get them with: "
            f"{commands}; see ds4d weights. Or run without them: --allow-missing-weights."
        )
    return record


def _used_models(config: GenerateConfig) -> list[tuple[PretrainedModel, Path | None]]:
    """The pretrained models that resolved settings use, and their paths where the settings name them."""
    used: list[tuple[PretrainedModel, Path | None]] = []
    if config.views.source == "zero123plus":
        zero123plus = config.views.generators.zero123plus
        used.append((MODELS[f"zero123plus-{zero123plus.version}"], zero123plus.folder))
    if config.features.kind == "dinov2":
        used.append(dinov2_weights(config.features.dinov2))
    if config.training.losses.lpips.weight:
        used += [(MODELS[NETWORK.weights], None), (MODELS[NETWORK.heads], None)]
    if config.guidance.weight:
        used.append((MODELS["zero123-xl"], config.guidance.model))
    return used
