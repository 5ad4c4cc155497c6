"""Multi-view videos with transforms files (D-NeRF, Blender, multi-view captures)."""

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.data.combining import SizedFile, common_size, view_weights
from ds4d.data.frame_store import FrameStore
from ds4d.data.transforms_file import TransformsFrame, read_transforms
from ds4d.io import image_size
from ds4d.types import Cameras, MultiViewVideo

_SAME_TIME = 1e-4
_SAME_POSE = 1e-5
_ASPECT_TOLERANCE = 0.01
_MAX_NAMELESS, _POSES_AT_ONCE = 10**4, 512
_MAX_CELLS = 10**6  # times by views

Grid = list[list[TransformsFrame | None]]


def load_transforms(
    folder: str | Path,
    *,
    splits: Sequence[str] = (),
    up: Literal["y", "z"] = "y",
    size: int | None = None,
    fps: float = 24.0,
    generated_weight: float = 1.0,
) -> MultiViewVideo:
    """Loads the views of one or several transforms_<split>.json, in the world of the files.

    Frames are grouped into views by their key `view`. Without it, frames at distinct times are one camera, which may
    move; otherwise frames with the same pose are one static camera.

    Args:
        folder: folder with the transforms files and the images.
        splits: splits to load; the first view of the first split is view 0. By default `train`, or else `front` and
            `mv`.
        up: up axis of the files' world, "y" or "z".
        size: height of the images, pixels; that of view 0 if None.
        fps: frame rate, above 0; times in the files are in [0, 1].
        generated_weight: loss weight of all views but the first, above 0.

    Raises:
        ValueError: see `read_transforms`; or an image is missing or of another size, two images have the same view and
            time, or frames cannot be grouped into views.
    """
    folder = Path(folder)
    splits = tuple(splits) or _default_splits(folder)
    frames = [frame for split in splits for frame in read_transforms(folder / f"transforms_{split}.json")]
    times, time_indices = _distinct_times([frame.time for frame in frames])
    frame_views = _view_names(frames, time_indices, splits[0], folder)
    names = tuple(dict.fromkeys(frame_views))
    grid = _grid(frames, time_indices, [names.index(name) for name in frame_views])
    width, height = common_size(
        [[None if frame is None else _sized_file(frame) for frame in row] for row in grid], size
    )
    cameras = _cameras(grid, times, width, height)
    return MultiViewVideo(
        frames=FrameStore([[None if frame is None else frame.image for frame in row] for row in grid], width, height),
        cameras=cameras,
        valid=torch.tensor([[frame is not None for frame in row] for row in grid]),
        times=times,
        view_names=names,
        view_weights=view_weights(len(names), generated_weight),
        duration=len(times) / fps,
        up=up,
    )


def _default_splits(folder: Path) -> tuple[str, ...]:
    found = sorted(path.stem.removeprefix("transforms_") for path in folder.glob("transforms_*.json"))
    if "train" in found:
        return ("train",)
    if "front" in found:
        return ("front", "mv") if "mv" in found else ("front",)
    raise ValueError(
        f"{folder} must hold transforms_train.json or transforms_front.json, got splits {found}. "
        "Choose the splits to train on by --splits."
    )


def _distinct_times(seconds: Sequence[float]) -> tuple[Float[Tensor, " T"], list[int]]:
    """The distinct times in increasing order, up to rounding errors, and the index of the time of each frame."""
    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    times: list[float] = []
    indices = [0] * len(seconds)
    for position in order:
        if not times or seconds[position] - times[-1] > _SAME_TIME:
            times.append(seconds[position])
        indices[position] = len(times) - 1
    return torch.tensor(times), indices


def _view_names(frames: list[TransformsFrame], time_indices: list[int], split: str, folder: Path) -> list[str]:
    """Name of the view of each frame, by the rules of `load_transforms`."""
    nameless = [frame for frame in frames if frame.view is None]
    if not nameless:
        return [str(frame.view) for frame in frames]
    if len(nameless) < len(frames):
        raise ValueError(
            f"{folder}: all frames or none must have the key view, {nameless[0].file_path} has none. Add it."
        )
    if len(set(time_indices)) == len(frames):
        return [split] * len(frames)
    if len(frames) > _MAX_NAMELESS:  # each is compared with all others
        raise ValueError(
            f"{folder}: frames without the key view must be at most {_MAX_NAMELESS}, got {len(frames)}. "
            "Add the key view (name of the camera) to each frame."
        )
    poses = torch.stack([frame.viewmat.flatten() for frame in frames])
    same = (torch.cdist(part, poses, p=float("inf")) < _SAME_POSE for part in poses.split(_POSES_AT_ONCE))
    first_alike = torch.cat([part.int().argmax(dim=1) for part in same]).tolist()
    cameras = sorted(set(first_alike))
    if len(cameras) == len(frames) and len(set(time_indices)) > 1:
        raise ValueError(
            f"{folder}: frames share times but no camera is static, so they cannot be grouped into views. "
            "Add the key view (name of the camera) to each frame."
        )
    return [f"camera{cameras.index(first)}" for first in first_alike]


def _grid(frames: list[TransformsFrame], time_indices: list[int], view_indices: list[int]) -> Grid:
    """T rows, V columns; None where a view has no image."""
    if (cells := (max(view_indices) + 1) * (max(time_indices) + 1)) > _MAX_CELLS:
        raise ValueError(
            f"times and views must be at most {_MAX_CELLS} together, got {cells} for {len(frames)} images. Give the "
            "frames of all cameras the same times."
        )
    grid: Grid = [[None] * (max(view_indices) + 1) for _ in range(max(time_indices) + 1)]
    for frame, time, view in zip(frames, time_indices, view_indices, strict=True):
        other = grid[time][view]
        if other is not None:
            raise ValueError(
                f"{frame.image} and {other.image} have the same view at time {frame.time}. "
                "Remove one, or add the key view (name of the camera) to each frame."
            )
        grid[time][view] = frame
    return grid


def _sized_file(frame: TransformsFrame) -> SizedFile:
    """The image of a frame with its size, which must have the aspect ratio of the camera."""
    width, height = image_size(frame.image)
    if abs(frame.width * height / (frame.height * width) - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"{frame.image} must have the aspect ratio of its camera, {frame.width} x {frame.height}, "
            f"got {width} x {height}. Correct w and h in the transforms file."
        )
    return frame.image, (width, height)


def _cameras(grid: Grid, times: Float[Tensor, " T"], width: int, height: int) -> Cameras:
    """One camera per time and view; if a view has no image at a time, its camera of the nearest time."""
    columns = [_filled(column, times) for column in zip(*grid, strict=True)]
    viewmats = torch.stack([torch.stack([frame.viewmat for frame in column]) for column in columns], dim=1)
    Ks = torch.stack([torch.stack([_scaled_K(frame, width, height) for frame in column]) for column in columns], dim=1)
    cameras = Cameras(viewmats, Ks, width, height)
    if ((viewmats - viewmats[:1]).abs() < _SAME_POSE).all() and (
        (Ks - Ks[:1]).abs() < _SAME_POSE * Ks[:1] + 1e-8
    ).all():
        return cameras[0].expand_times(len(times))
    return cameras


def _filled(column: Sequence[TransformsFrame | None], times: Float[Tensor, " T"]) -> list[TransformsFrame]:
    seconds = times.tolist()
    existing = [(second, frame) for second, frame in zip(seconds, column, strict=True) if frame is not None]
    known, filled = [second for second, _ in existing], []
    for second in seconds:
        after = min(bisect.bisect_left(known, second), len(known) - 1)
        before = max(0, after - 1)
        filled.append(existing[before if second - known[before] <= known[after] - second else after][1])
    return filled


def _scaled_K(frame: TransformsFrame, width: int, height: int) -> Float[Tensor, "3 3"]:
    return frame.K * torch.tensor([width / frame.width, height / frame.height, 1.0])[:, None]
