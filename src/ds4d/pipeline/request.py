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
from ds4d.pipeline.required_weights import check_weights, require_weights
from ds4d.presets import PRESETS, default_preset
from ds4d.runs import RunFolder, RunRecord, read_record
from ds4d.training import check_tensorboard


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
        ValueError: there is no such input, the output folder is unfit, another run is in it, or weights that the
            settings need are missing.
        ImportError: an optional package that the settings need is not installed.
    """
    path, folder = Path(input), RunFolder(Path(output))
    if not path.exists():
        raise ValueError(
            f"input must be a video file or a folder of frames or views, got {str(input)!r}, where there is nothing. "
            "Check the path; addresses on the web are not downloaded."
        )
    record = RunRecord(path.resolve(), device.type, config)
    if resume:
        record = _resumed(record, folder)
    else:
        folder.check_unused()
    folder.check_writable()
    if not resume:
        record = check_weights(record)
    if config.log.tensorboard:
        check_tensorboard()
    return RunRequest(folder, device, record, resume)


def _resumed(record: RunRecord, folder: RunFolder) -> RunRecord:
    """The record with what the run in the folder uses, which must be here, too.

    Raises:
        ValueError: another run is in the folder, or weights that it uses are missing here.
    """
    begun = folder.read_resumable(record)
    record = replace(
        record,
        views_source=begun.views_source,
        features_kind=begun.features_kind,
        replaced=begun.replaced,
        ds4d=begun.ds4d,  # so that it is reported however often the run is resumed
    )
    if folder.metrics.is_file():
        return record  # nothing is left to do
    require_weights(record.resolved_config)
    for notice in record.replaced:
        notify(notice)
    if begun.ds4d != __version__:
        message = (
            f"the run was started by ds4d {begun.ds4d} and is resumed by ds4d {__version__}: the result may differ "
            "from that of either. Use one version for comparable results."
        )
        notify(Warned("version", message))
    return record
