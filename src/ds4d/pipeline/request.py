"""What a run is asked to do, checked before any work."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ds4d import __version__
from ds4d.config import GenerateConfig
from ds4d.core import DeviceName, Warned, choose_device, notify
from ds4d.runs import RunFolder, RunRecord
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


def check_request(
    input: str | Path, output: str | Path, config: GenerateConfig, device: DeviceName, *, resume: bool
) -> RunRequest:
    """Checks everything that can be checked without reading the input.

    Raises:
        ValueError: there is no such input, the output folder is unfit, or the device is absent.
        ImportError: an optional package that the settings need is not installed.
    """
    path, folder, target = Path(input), RunFolder(Path(output)), choose_device(device)
    if not path.exists():
        raise ValueError(
            f"input must be a video file or a folder of frames or views, got {str(input)!r}, where there is nothing. "
            "Check the path; addresses on the web are not downloaded."
        )
    record = RunRecord(path.resolve(), target.type, config, config.views.source)
    if resume:
        begun = folder.read_resumable(record)
        record = replace(record, views_source=begun.views_source)
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
    return RunRequest(folder, target, record, resume)
