"""The images, videos and the PLY file that a run writes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from ds4d.core import Degraded, notify
from ds4d.export import write_ply
from ds4d.geometry import to_world
from ds4d.io import write_png
from ds4d.scene import Scene
from ds4d.types import MultiViewVideo, Renderer
from ds4d.visualize.camera_paths import SIDES
from ds4d.visualize.comparison import comparison_sheet, write_comparison
from ds4d.visualize.config import OutputsConfig
from ds4d.visualize.trajectories import Trajectory, fixed_trajectory, orbit_trajectory
from ds4d.visualize.videos import render_video


def write_outputs(
    scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig, folder: Path
) -> Iterator[Path]:
    """Writes the images and videos of a run one by one and yields the path of each once it is written.

    Args:
        scene: the fitted scene.
        video: the training views, with cameras in normalized space.
        renderer: the renderer for the device of the scene.
        config: sizes and lengths.
        folder: an existing folder.
    """

    def write_trajectory(path: Path, trajectory: Trajectory) -> None:
        render_video(path, scene, renderer, trajectory, config.fps)

    writers: dict[str, Callable[[Path], None]] = {
        "contact_sheet.png": lambda path: write_png(path, comparison_sheet(scene, video, renderer, config)),
        "comparison.mp4": lambda path: write_comparison(path, scene, video, renderer, config),
        "orbit.mp4": lambda path: write_trajectory(path, orbit_trajectory(scene, config)),
    }
    for side, azimuth_deg in SIDES.items():
        writers[f"{side}.mp4"] = lambda path, azimuth_deg=azimuth_deg: write_trajectory(
            path, fixed_trajectory(scene, config, azimuth_deg)
        )
    writers["middle.ply"] = lambda path: _write_middle_frame(path, scene)
    for name, write in writers.items():
        if written := write_if_possible(folder / name, write):
            yield written


def write_if_possible(path: Path, write: Callable[[Path], None]) -> Path | None:
    """Writes one file and returns its path; if a package is missing, notifies the user and returns None."""
    try:
        write(path)
    except ImportError as error:
        notify(Degraded("outputs", f"{path.name} is not written: {error}"))
        return None
    return path


def _write_middle_frame(path: Path, scene: Scene) -> None:
    """Writes the Gaussians of the middle frame as PLY, in world space."""
    with torch.no_grad():
        raw = scene.raw_at(torch.tensor(scene.timeline.times, device=scene.device)[[scene.timeline.middle]])
    write_ply(to_world(raw.at_time(0), scene.world), path)
