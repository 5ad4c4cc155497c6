"""A finished run, read for the viewer."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ds4d.core import Degraded, notify
from ds4d.pipeline import read_input
from ds4d.runs import RunFolder, read_record
from ds4d.scene import Scene, check_scene_files, read_baked_scene
from ds4d.types import MultiViewVideo
from ds4d.viewer.input_views import InputViews, input_views


@dataclass(frozen=True)
class OpenedRun:
    """What the viewer shows of a run.

    Attributes:
        scene: optimized scene.
        views: training views, with generated ones if they are cached; None if the input cannot be read any more.
    """

    scene: Scene
    views: InputViews | None


def open_run(path: Path, device: torch.device) -> OpenedRun:
    """Reads the scene of a run and its training views, with a notice if these cannot be read.

    Args:
        path: folder of the run.
        device: device for the scene.

    Raises:
        ValueError: the folder holds no optimized scene, is damaged, or was written by another version.
    """
    folder = RunFolder(path)
    folder.check_fitted()
    check_scene_files(path)  # playback reads others, but a run that is damaged must not look as if it were whole
    scene = read_baked_scene(path, device)
    record = read_record(folder.config)
    try:
        run_device = torch.device(record.device)  # part of the key of cached views
        video = read_input(record.input, record.resolved_config, run_device, make_views=False).video
        _check_same_frames(video, scene, record.input)
    except (ValueError, ImportError, OSError) as error:
        notify(Degraded("viewer", f"the input is not shown: {error}"))
        return OpenedRun(scene, None)
    return OpenedRun(scene, input_views(video, scene.world, path / "saliency.mp4"))


def _check_same_frames(video: MultiViewVideo, scene: Scene, source: Path) -> None:
    times = torch.tensor(scene.timeline.times)
    if len(video.times) != len(times) or not torch.allclose(video.times, times):
        raise ValueError(
            f"{source} must hold the {len(times)} frames that the run was made from, got {video.num_times} or other "
            "times."
        )
