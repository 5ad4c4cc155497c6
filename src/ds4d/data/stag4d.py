"""Folders in STAG4D's layout: a front video and the views a generator made of each frame.

ref/<i>_rgba.png              the real video
zero123/<i>_rgba/<k>.png      view k of frame i, in the order of the rig (the front of the rig left out)
rig.json                      where the cameras stood, if the folder says (`ds4d multiview` does)
"""

import re
from itertools import pairwise
from pathlib import Path

import torch

from ds4d.core import Warned, notify
from ds4d.data.frame_store import FrameStore
from ds4d.data.image_sizes import common_size, view_weights
from ds4d.geometry import RigView, frame_times, load_rig, rig_cameras
from ds4d.io import image_size
from ds4d.types import MultiViewVideo

RIG_FILE = "rig.json"
_FRAME_NAME = re.compile(r"(\d+)_rgba\.png")
_ALPHA_FLOOR = 8  # of 255; Zero123++ masks leave alpha 1 over the gray background, mattings leave a faint haze


def load_stag4d(
    folder: str | Path,
    *,
    rig: str | None = None,
    size: int | None = None,
    fps: float = 24.0,
    generated_weight: float = 1.0,
) -> MultiViewVideo:
    """A folder in STAG4D's layout, in the rig's world (y up, the front camera at azimuth 0).

    Args:
        folder: holds `ref` and, beyond a single view, `zero123`.
        rig: name or json file of the camera rig; its first view is the front (`ds4d.geometry.load_rig`). None: the
            folder's rig.json, or `stag4d` where there is none.
        size: height of the images in pixels; the front's own if None.
        fps: frames per second of the clip, above 0.
        generated_weight: trust in the generated views, above 0; the front has 1.

    Raises:
        ValueError: a file is missing, superfluous or of another size; the message names it.
    """
    folder = Path(folder)
    if rig is None:
        rig = str(folder / RIG_FILE) if (folder / RIG_FILE).is_file() else "stag4d"
    views = load_rig(rig)
    fronts = _front_files(folder / "ref")
    if (folder / "zero123").is_dir():
        paths = [[front, *_novel_files(folder / "zero123" / front.stem, views, rig)] for front in fronts]
        _refuse_orphans(folder / "zero123", {front.stem for front in fronts})
    else:
        notify(Warned("input", f"{folder} has no folder zero123: only its input view is used."))
        paths, views = [[front] for front in fronts], views[:1]
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


def _front_files(folder: Path) -> list[Path]:
    """The front frames by number (0, 1, 2, ..., 10; not 0, 1, 10, 2)."""
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


def _novel_files(folder: Path, views: tuple[RigView, ...], rig: str) -> list[Path]:
    """The generated views of one frame, exactly as many as the rig has."""
    wanted = [folder / f"{index}.png" for index in range(len(views) - 1)]
    for path in wanted:
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: rig {rig!r} has {len(wanted)} views besides the front. "
                "Add the image, or give the rig that the views were made for."
            )
    extra = {path.name for path in folder.glob("*.png")} - {path.name for path in wanted}
    if extra:
        raise ValueError(
            f"{folder / min(extra)} is one view too many: rig {rig!r} has {len(wanted)} besides the front. "
            "Remove the image, or give the rig that the views were made for."
        )
    return wanted


def _refuse_orphans(folder: Path, stems: set[str]) -> None:
    orphans = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in stems)
    if orphans:
        raise ValueError(
            f"{folder / orphans[0]} has no front frame ref/{orphans[0]}.png. Add the frame or remove the folder."
        )
