"""The input images beside the renderings of the fitted scene: a contact sheet and a video."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.io import contact_sheet, fit_within, on_white, resize_premultiplied, write_video
from ds4d.scene import FOVY_DEG, Scene, render_rgb, viewing_distance
from ds4d.types import MultiViewVideo, Renderer
from ds4d.visualize.camera_paths import SIDES, fixed_path
from ds4d.visualize.config import OutputsConfig


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
        rows[f"{name} (target)"] = [_square(input_image(video, int(i), view, width, height), size) for i in frames]
        rows[f"{name} (ours)"] = [_square(image, size) for image in rendered]
    for side, azimuth_deg in SIDES.items():
        cameras = fixed_path(
            columns,
            azimuth_deg=azimuth_deg,
            elevation_deg=config.elevation_deg,
            fovy_deg=FOVY_DEG,
            distance=viewing_distance(scene),
            size=size,
        )
        rows[side] = list(render_rgb(scene, renderer, cameras, times))
    labels = [f"t = {time:.2f}" for time in times.tolist()]
    return contact_sheet(list(rows.values()), column_labels=labels, row_labels=list(rows))


def write_comparison(
    path: Path, scene: Scene, video: MultiViewVideo, renderer: Renderer, config: OutputsConfig
) -> None:
    """Writes a video of all frames from the camera of the input view: the input on the left, the scene on the right."""
    width, height = fit_within(video.frames.width, video.frames.height, config.size)
    frames = torch.arange(video.num_times)
    cameras = video.cameras.select(frames, torch.zeros_like(frames)).resized(width, height)
    rendered = render_rgb(scene, renderer, cameras, video.times)
    pairs = (
        np.concatenate((input_image(video, time, 0, width, height), image), axis=1)
        for time, image in enumerate(rendered)
    )
    write_video(path, pairs, video.num_times / (video.duration * config.slow))


def input_image(video: MultiViewVideo, time: int, view: int, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
    """One training image on white at the given size; all white where the view has no image at this time."""
    if not video.valid[time, view]:
        return np.full((height, width, 3), 255, np.uint8)
    return on_white(resize_premultiplied(np.array(video.frames.read(time, view)), width, height))


def _square(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The image centered in a white square."""
    height, width = image.shape[:2]
    out = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    out[top : top + height, left : left + width] = image
    return out
