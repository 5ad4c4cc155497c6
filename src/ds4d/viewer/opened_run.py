"""A finished run, read for looking at."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ds4d.core import Degraded, notify
from ds4d.pipeline import read_input
from ds4d.runs import RunFolder, read_record
from ds4d.scene import BakedGaussians
from ds4d.types import MultiViewVideo
from ds4d.viewer.input_views import InputViews, placed_views


@dataclass(frozen=True)
class OpenedRun:
    """What a viewer shows of a run.

    Attributes:
        scene: the object.
        views: its input, with the views that a generator made of it where they are kept; None where the input cannot
            be read any more.
    """

    scene: BakedGaussians
    views: InputViews | None


def open_run(path: Path, device: torch.device) -> OpenedRun:
    """Reads the scene of a run and, where it still stands where the run found it, its input; warns where not.

    Raises:
        ValueError: the folder holds no fitted scene, is damaged, or was written by another version.
    """
    folder = RunFolder(path)
    folder.check_fitted()
    scene = BakedGaussians.load(path, device)
    record = read_record(folder.config)
    try:
        made_on = torch.device(record.device)  # views are found by what made them
        video = read_input(record.input, record.resolved_config, made_on, make_views=False).video
        _check_same_clip(video, scene, record.input)
    except (ValueError, ImportError, OSError) as error:
        notify(Degraded("viewer", f"the input is not shown beside the object: {error}"))
        return OpenedRun(scene, None)
    return OpenedRun(scene, placed_views(video, scene.world, path / "saliency.mp4"))


def _check_same_clip(video: MultiViewVideo, scene: BakedGaussians, source: Path) -> None:
    times = torch.tensor(scene.timeline.times)
    if len(video.times) != len(times) or not torch.allclose(video.times, times):
        raise ValueError(
            f"{source} must hold the frames that the run was made of, got {video.num_times} where it had "
            f"{len(times)}, or other times."
        )
