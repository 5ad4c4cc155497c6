"""Writes generated views as a folder in STAG4D's layout (`ds4d.data.stag4d`), with a contact sheet to check them."""

import json
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from plyfile import PlyData, PlyElement

from ds4d.core import tracked
from ds4d.data.stag4d import CLIP_FILE, POINTS_FILE, RIG_FILE
from ds4d.geometry import rig_from_cameras, write_rig
from ds4d.io import contact_sheet, on_white, resize_premultiplied, unpremultiply, write_png
from ds4d.types import GeneratedViews, MultiViewVideo, PointCloud

_TILE, _COLUMNS = 160, 8  # of the contact sheet


def write_views(generated: GeneratedViews, folder: Path, *, made_by: str) -> None:
    """Writes views as a folder that `load_stag4d` reads, completely or not at all.

    Args:
        generated: the input view and the generated views, at one image size.
        folder: new or empty folder.
        made_by: name of the generator, for the record.

    Raises:
        ValueError: the folder is not empty, or the cameras are no rig (`ds4d.geometry.rig_from_cameras`).
    """
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} must be a new or empty folder, got one that is neither. Choose another.")
    video = generated.video
    rig = rig_from_cameras(video.cameras.at_time(0), video.view_names)
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        for time in tracked(range(video.num_times), "writing the views"):
            write_png(staging / "ref" / f"{time}_rgba.png", unpremultiply(video.frames.read(time, 0)))
            for view in range(1, video.num_views):
                path = staging / "zero123" / f"{time}_rgba" / f"{view - 1}.png"
                write_png(path, unpremultiply(video.frames.read(time, view)))
        write_rig(staging / RIG_FILE, rig)
        record = {"fps": video.num_times / video.duration, "made_by": made_by}
        (staging / CLIP_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if generated.points is not None:
            write_points(staging / POINTS_FILE, generated.points)
        write_png(staging / "contact_sheet.png", views_contact_sheet(video))
        if folder.exists():
            folder.rmdir()
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def views_contact_sheet(video: MultiViewVideo) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet on white: one row per view, times from left to right."""
    times = np.linspace(0, video.num_times - 1, min(_COLUMNS, video.num_times)).round().astype(int).tolist()
    width = max(1, round(_TILE * video.frames.width / video.frames.height))
    rows = []
    for view in range(video.num_views):
        tiles = [resize_premultiplied(video.frames.read(time, view), width, _TILE) for time in times]
        rows.append([on_white(tile) for tile in tiles])
    return contact_sheet(rows, column_labels=[f"frame {time}" for time in times], row_labels=video.view_names)


def write_points(path: Path, points: PointCloud) -> None:
    """Writes a point cloud as PLY: positions, and colors with 8 bits."""
    names = [*((name, "f4") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
    rows = np.empty(len(points.positions), names)
    for name, column in zip("xyz", points.positions.T.numpy(), strict=True):
        rows[name] = column
    for name, column in zip(("red", "green", "blue"), (points.colors.T * 255).round().byte().numpy(), strict=True):
        rows[name] = column
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
