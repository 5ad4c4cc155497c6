"""The input images beside the renderings of the fitted scene: a contact sheet and a video."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.core import tracked
from ds4d.io import contact_sheet, fit_within, on_white, resize_premultiplied
from ds4d.scene import FOVY_DEG, Scene, render_rgb, viewing_distance
from ds4d.types import Cameras, MultiViewVideo, Renderer
from ds4d.visualize.camera_paths import SIDES, fixed_path
from ds4d.visualize.config import OutputsConfig
from ds4d.visualize.videos import OPAQUE


def comparison_sheet(
    scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet over time: two training views above their renderings, then renderings of the four sides."""
    columns, size = min(config.sheet_columns, video.num_times), config.sheet_size
    frames = torch.linspace(0, video.num_times - 1, columns).round().long()
    times = video.times[frames]
    rows: dict[str, list[UInt8[np.ndarray, "H W 3"]]] = {}
    width, height = fit_within(video.frames.width, video.frames.height, size)
    for view in sorted({0, video.num_views // 2}):
        name = video.view_names[view]
        cameras = video.cameras.select(frames, torch.full_like(frames, view)).resized(width, height)
        rendered = render_rgb(scene, renderer, cameras, times)
        rows[f"{name} (target)"] = list(
            _centered((input_image(video, int(i), view, width, height) for i in frames), size, size)
        )
        rows[f"{name} (ours)"] = list(_centered(rendered, size, size))
    for side in SIDES:
        cameras = _side_cameras(side, scene, columns, config.elevation_deg, size)
        rows[side] = list(render_rgb(scene, renderer, cameras, times))
    labels = [f"t = {time:.2f}" for time in times.tolist()]
    return contact_sheet(list(rows.values()), column_labels=labels, row_labels=list(rows))


def write_comparison(
    path: Path,
    scene: Scene,
    video: MultiViewVideo,
    renderer: Renderer,
    config: OutputsConfig,
    sides: Sequence[str] = (),
) -> None:
    """Writes a video of all frames with labeled columns: the input, the scene from the same camera, and other sides.

    Args:
        path: the video file; see `OPAQUE` for its ending.
        scene: the fitted scene.
        video: the training views, with cameras in normalized space; the first is the input.
        renderer: the renderer for the device of the scene.
        config: size and slow-motion factor.
        sides: further columns, names in `SIDES`.
    """
    width, height = fit_within(video.frames.width, video.frames.height, config.size)
    frames = torch.arange(video.num_times)
    cameras = video.cameras.select(frames, torch.zeros_like(frames)).resized(width, height)
    columns: dict[str, Iterable[UInt8[np.ndarray, "H W 3"]]] = {
        "input": (input_image(video, time, 0, width, height) for time in range(video.num_times)),
        "rendering": render_rgb(scene, renderer, cameras, video.times),
    }
    size = min(width, height)
    extent = float(cameras.centers[0, 0].norm() * size / (2 * cameras.Ks[0, 0, 1, 1]))
    for side in sides:
        cameras = _side_cameras(side, scene, len(frames), config.elevation_deg, size, extent)
        columns[side] = _centered(render_rgb(scene, renderer, cameras, video.times), width, height)
    rows = zip(*columns.values(), strict=True)
    labeled = (contact_sheet([images], column_labels=list(columns)) for images in tracked(rows, path.name, len(frames)))
    OPAQUE[path.suffix.lower()](path, labeled, video.num_times / (video.duration * config.slow))


def input_image(video: MultiViewVideo, time: int, view: int, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """One training image on white at the given size; all white where the view has no image at this time."""
    if not video.valid[time, view]:
        return np.full((height, width, 3), 255, np.uint8)
    return on_white(resize_premultiplied(np.array(video.frames.read(time, view)), width, height))


def _side_cameras(side: str, scene: Scene, count: int, elevation_deg: float, size: int, extent: float = 0.0) -> Cameras:
    """A fixed camera on one of `SIDES`, [count, 1], that shows the object, and at least `extent` around its origin."""
    nearest = extent / math.tan(math.radians(FOVY_DEG / 2))
    return fixed_path(
        count,
        azimuth_deg=SIDES[side],
        elevation_deg=elevation_deg,
        fovy_deg=FOVY_DEG,
        distance=max(viewing_distance(scene), nearest),
        size=size,
    )


def _centered(
    images: Iterable[UInt8[np.ndarray, "h w 3"]], width: int, height: int
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The images, at most as large, each in the center of a white one of the given size."""
    for image in images:
        out = np.full((height, width, 3), 255, np.uint8)
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        out[top : top + image.shape[0], left : left + image.shape[1]] = image
        yield out
