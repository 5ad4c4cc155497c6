"""Generated views as a folder in STAG4D's layout, so that they can be looked at, mended, and fitted later.

ref/<i>_rgba.png              the video
zero123/<i>_rgba/<k>.png      view k of frame i
rig.json                      where the cameras stand, the front first
clip.json                     frames per second, and what made the views
points.ply                    the object at the middle frame, where the generator knows its shape
contact_sheet.png             all views at some times
"""

import json
import math
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from plyfile import PlyData, PlyElement

from ds4d.core import tracked
from ds4d.data.stag4d import RIG_FILE
from ds4d.geometry import rig_from_cameras, write_rig
from ds4d.io import contact_sheet, on_white, resize_premultiplied, unpremultiply, write_png
from ds4d.types import GeneratedViews, MultiViewVideo, PointCloud

CLIP_FILE, POINTS_FILE = "clip.json", "points.ply"
_TILE, _COLUMNS = 160, 8  # of the contact sheet


def write_views(made: GeneratedViews, folder: Path, *, made_by: str) -> None:
    """Writes views as a folder that `load_stag4d` reads; it appears whole or not at all.

    Args:
        made: the views, at the size of the video.
        folder: new or empty.
        made_by: what made them, for whoever looks into the folder.

    Raises:
        ValueError: the folder holds something, or the cameras are no rig (`ds4d.geometry.rig_from_cameras`).
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"output {folder} must be a new or empty folder, got one in use. Name another.")
    clip = made.video
    rig = rig_from_cameras(clip.cameras.at_time(0), clip.view_names)
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        for time in tracked(range(clip.num_times), "writing the views"):
            write_png(staging / "ref" / f"{time}_rgba.png", unpremultiply(clip.frames.read(time, 0)))
            for view in range(1, clip.num_views):
                path = staging / "zero123" / f"{time}_rgba" / f"{view - 1}.png"
                write_png(path, unpremultiply(clip.frames.read(time, view)))
        write_rig(staging / RIG_FILE, rig)
        record = {"fps": clip.num_times / clip.duration, "made_by": made_by}
        (staging / CLIP_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if made.points is not None:
            write_points(staging / POINTS_FILE, made.points)
        write_png(staging / "contact_sheet.png", draw_views(clip))
        if folder.exists():
            folder.rmdir()
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_fps(folder: Path) -> float | None:
    """The frames per second that a folder of views tells; None where it does not.

    Raises:
        ValueError: its clip.json is damaged.
    """
    path = folder / CLIP_FILE
    if not path.is_file():
        return None
    try:
        fps = float(json.loads(path.read_text(encoding="utf-8"))["fps"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must be a json object with the key fps, a number: {error}. Remove it.") from error
    if not 0 < fps < math.inf:
        raise ValueError(f"{path}: fps must be finite and above 0, got {fps}. Correct it.")
    return fps


def draw_views(clip: MultiViewVideo) -> UInt8[np.ndarray, "h w 3"]:
    """A contact sheet: a row for each view, times from left to right, on white."""
    times = np.linspace(0, clip.num_times - 1, min(_COLUMNS, clip.num_times)).round().astype(int).tolist()
    width = max(1, round(_TILE * clip.frames.width / clip.frames.height))
    rows = []
    for view in range(clip.num_views):
        tiles = [resize_premultiplied(clip.frames.read(time, view), width, _TILE) for time in times]
        rows.append([on_white(tile) for tile in tiles])
    return contact_sheet(rows, column_labels=[f"frame {time}" for time in times], row_labels=clip.view_names)


def write_points(path: Path, points: PointCloud) -> None:
    """A point cloud as PLY: x y z, red green blue with 8 bits."""
    names = [*((name, "f4") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
    rows = np.empty(len(points.positions), names)
    for name, column in zip("xyz", points.positions.T.numpy(), strict=True):
        rows[name] = column
    for name, column in zip(("red", "green", "blue"), (points.colors.T * 255).round().byte().numpy(), strict=True):
        rows[name] = column
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
