"""Folders in STAG4D's layout: an input video and the views that a generator made of each frame.

ref/<i>_rgba.png              frame i of the input view
zero123/<i>_rgba/<k>.png      view k of frame i, in the order of the rig (without its first view, the input view)

`write_views` adds:
rig.json                      the cameras
clip.json                     frame rate, and the name of the generator
points.ply                    surface points in the middle frame, if the generator knows the shape
contact_sheet.png             all views at some times
"""

import math
import re
from itertools import pairwise
from pathlib import Path

import torch

from ds4d.core import Warned, notify
from ds4d.data.combining import common_size, view_weights
from ds4d.data.frame_store import FrameStore
from ds4d.geometry import RigView, frame_times, load_rig, rig_cameras
from ds4d.io import image_size, read_json
from ds4d.types import MultiViewVideo

RIG_FILE, CLIP_FILE, POINTS_FILE = "rig.json", "clip.json", "points.ply"
_FRAME_NAME = re.compile(r"(\d+)_rgba\.png")
_ALPHA_FLOOR = 8  # of 255; masks of Zero123++ have alpha 1 on the gray background, matting models leave faint haze


def load_stag4d(
    folder: str | Path,
    *,
    rig: str | None = None,
    size: int | None = None,
    fps: float = 24.0,
    generated_weight: float = 1.0,
) -> MultiViewVideo:
    """Loads a folder in STAG4D's layout, in the world of its rig (y up, the input camera at azimuth 0).

    Args:
        folder: folder with `ref` and, for more than one view, `zero123`.
        rig: name or JSON file of the camera rig, whose first view is the input view (`ds4d.geometry.load_rig`); if
            None, the folder's rig.json, or else `stag4d`.
        size: height of the images, pixels; that of the input view if None.
        fps: frame rate, above 0.
        generated_weight: loss weight of the generated views, above 0; that of the input view is 1.

    Raises:
        ValueError: a file is missing, unexpected or of another size; the message names it.
    """
    folder = Path(folder)
    if rig is None:
        rig = str(folder / RIG_FILE) if (folder / RIG_FILE).is_file() else "stag4d"
    views = load_rig(rig)
    inputs = _input_files(folder / "ref")
    if (folder / "zero123").is_dir():
        paths = [[path, *_generated_files(folder / "zero123" / path.stem, views, rig)] for path in inputs]
        _refuse_orphans(folder / "zero123", {path.stem for path in inputs})
    else:
        notify(Warned("input", f"{folder} has no folder zero123: only its input view is used."))
        paths, views = [[path] for path in inputs], views[:1]
    width, height = common_size([[(path, image_size(path)) for path in row] for row in paths], size)
    return MultiViewVideo(
        frames=FrameStore(paths, width, height, alpha_floor=_ALPHA_FLOOR),
        cameras=rig_cameras(views, width, height).expand_times(len(paths)),
        valid=torch.ones(len(paths), len(views), dtype=torch.bool),
        times=frame_times(len(paths)),
        view_names=tuple(view.name for view in views),
        view_weights=view_weights(len(views), generated_weight),
        duration=len(paths) / fps,
    )


def read_fps(folder: Path) -> float | None:
    """Frame rate in the clip.json of a folder; None if there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / CLIP_FILE
    if not path.is_file():
        return None
    try:
        fps = float(read_json(path)["fps"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must be a JSON object with the key fps, a number: {error}. Remove it.") from error
    if not 0 < fps < math.inf:
        raise ValueError(f"{path}: fps must be finite and above 0, got {fps}. Correct it.")
    return fps


def _input_files(folder: Path) -> list[Path]:
    """Files of the input view, sorted by number (0, 1, 2, ..., 10; not 0, 1, 10, 2)."""
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of frames <number>_rgba.png, got nothing there. Check the path.")
    matches = [(_FRAME_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    numbered = sorted((int(match[1]), path) for match, path in matches if match)
    if not numbered:
        raise ValueError(f"{folder} must hold frames named <number>_rgba.png, got none. Rename the frames.")
    for (before, earlier), (after, later) in pairwise(numbered):
        if after == before:
            raise ValueError(f"{folder}: {earlier.name} and {later.name} share a number. Remove one of them.")
        if after != before + 1:
            raise ValueError(
                f"{folder}: frame numbers must have no gaps, got {later.name} after {earlier.name}. "
                "Add the missing frames or renumber."
            )
    return [path for _, path in numbered]


def _generated_files(folder: Path, views: tuple[RigView, ...], rig: str) -> list[Path]:
    """Files of the generated views of one frame, exactly as many as the rig has."""
    wanted = [folder / f"{index}.png" for index in range(len(views) - 1)]
    for path in wanted:
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: rig {rig!r} has {len(wanted)} views besides the input view. "
                "Add the image, or choose the rig of these views by --rig."
            )
    extra = {path.name for path in folder.glob("*.png")} - {path.name for path in wanted}
    if extra:
        raise ValueError(
            f"{folder / min(extra)} is one view too many: rig {rig!r} has {len(wanted)} besides the input view. "
            "Remove the image, or choose the rig of these views by --rig."
        )
    return wanted


def _refuse_orphans(folder: Path, stems: set[str]) -> None:
    orphans = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in stems)
    if orphans:
        raise ValueError(
            f"{folder / orphans[0]} has no input image ref/{orphans[0]}.png. Add the image or remove the folder."
        )
