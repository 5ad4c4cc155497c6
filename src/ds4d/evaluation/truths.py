"""Layouts of the truth: folders of true images, and of tracked surface points.

Each reader takes one object's folder. A folder of several objects holds one such folder per object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.data import TransformsFrame, read_transforms
from ds4d.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES, check_regular, natural_key, on_white, read_rgba
from ds4d.io.video_reader import VideoReader

_MAX_POINT_BYTES = 2**31
_POINT_FILES = ("points.npy", "surfaces.npy")  # ds4d's sets; ActionBench

ReadFrames = Callable[[], UInt8[np.ndarray, "T H W 4"]]


@dataclass(frozen=True)
class Truth:
    """What is known of one object.

    Attributes:
        name: name of the object.
        views: reader of the frames of each view, straight alpha.
        cameras: the frames of each view with their cameras, in the order of the images; empty where none are known.
        points: file of tracked surface points [T, N, 3 or more], or None.
    """

    name: str
    views: Mapping[str, ReadFrames] = field(default_factory=dict)
    cameras: Mapping[str, Sequence[TransformsFrame]] = field(default_factory=dict)
    points: Path | None = None


@dataclass(frozen=True)
class Layout:
    """One layout.

    Attributes:
        name: key in `LAYOUTS`.
        title: what a folder of one object holds.
        holds: whether a folder is one of this layout's objects, given the name of the split.
        read: reads it, given the name of the split.
    """

    name: str
    title: str
    holds: Callable[[Path, str], bool]
    read: Callable[[Path, str], Truth]


def read_truths(data: Path, split: str, layout: str | None = None) -> tuple[str, dict[str, Truth]]:
    """The objects in a folder, by name: the folder itself is one, or each of its subfolders is.

    Args:
        data: folder of one object or of several.
        split: name of the transforms file, without transforms_ and .json, where there are some.
        layout: key in `LAYOUTS`; the first that fits if None.

    Returns:
        The name of the layout, and the objects sorted by name.

    Raises:
        ValueError: no layout fits.
    """
    for known in LAYOUTS.values() if layout is None else [LAYOUTS[layout]]:
        if known.holds(data, split):
            name = data.resolve().name
            return known.name, {name: known.read(data, split)}
        found = sorted(path for path in data.glob("*/") if known.holds(path, split)) if data.is_dir() else []
        if found:
            return known.name, {path.name: known.read(path, split) for path in found}
    wanted = "; ".join(f"{known.name}: {known.title}" for known in LAYOUTS.values())
    raise ValueError(
        f"--data {data} must hold one object or a folder per object, got none of the known layouts ({wanted}). "
        "Check the path and --split."
    )


def read_points(path: Path) -> Float[np.ndarray, "T N 3"]:
    """Tracked surface points; of further columns, such as normals, nothing is used.

    Raises:
        ValueError: the file is damaged, or of another shape.
    """
    check_regular(path, max_bytes=_MAX_POINT_BYTES)
    try:
        points = np.load(path, mmap_mode="r", allow_pickle=False)  # allocates nothing that the file does not hold
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} must be an array of NumPy, got one that cannot be read ({error}).") from error
    if points.ndim != 3 or points.shape[2] < 3 or not points.shape[0] or not points.shape[1]:
        raise ValueError(f"{path} must have the shape [frames, points, 3 or more], got {list(points.shape)}.")
    points = points[..., :3].astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{path} must be finite, got NaN or infinity. Export it again.")
    return points


def image_folder(folder: Path) -> list[Path]:
    """The images in a folder, in the order of the numbers in their names."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")
    return sorted(found, key=natural_key)


def read_images(paths: Sequence[Path], where: str) -> UInt8[np.ndarray, "T H W 4"]:
    """Images of one size, straight alpha.

    Raises:
        ValueError: there are none, or of several sizes.
    """
    images = [read_rgba(path) for path in paths]
    sizes = sorted({(image.shape[1], image.shape[0]) for image in images})
    if len(sizes) != 1:
        raise ValueError(f"{where} must hold images of one size, got {sizes or 'no images'}. Export them again.")
    return np.stack(images)


def read_video(path: Path) -> UInt8[np.ndarray, "T H W 4"]:
    """All frames of a video, opaque.

    Raises:
        ValueError: the file is damaged or empty.
    """
    video = VideoReader(path)
    count = len(video.seconds)
    frames = [on_white(image) for _, image in video.read(range(count), max(video.size), alpha=True)]
    rgb = np.stack(frames)
    return np.concatenate((rgb, np.full_like(rgb[..., :1], 255)), axis=-1)


def _points_of(folder: Path) -> Path | None:
    return next((folder / name for name in _POINT_FILES if (folder / name).is_file()), None)


def _read_transforms(folder: Path, split: str) -> Truth:
    views: dict[str, list[TransformsFrame]] = {}
    for frame in read_transforms(folder / f"transforms_{split}.json"):
        views.setdefault(split if frame.view is None else frame.view, []).append(frame)
    cameras = {name: sorted(frames, key=lambda frame: frame.time) for name, frames in views.items()}
    readers = {name: _reader([frame.image for frame in frames], name) for name, frames in cameras.items()}
    return Truth(folder.resolve().name, readers, cameras, _points_of(folder))


def _read_consistent4d(folder: Path, split: str) -> Truth:
    views = sorted((path for path in folder.glob("eval_*/")), key=natural_key)
    return Truth(folder.name, {view.name: _reader(image_folder(view), str(view)) for view in views})


def _read_videos(folder: Path, split: str) -> Truth:
    return Truth(folder.name, {path.stem: _video_reader(path) for path in videos_in(folder)})


def videos_in(folder: Path) -> list[Path]:
    """The videos in a folder, in the order of their names."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != ".")


def _reader(paths: Sequence[Path], where: str) -> ReadFrames:
    return lambda: read_images(paths, where)


def _video_reader(path: Path) -> ReadFrames:
    return lambda: read_video(path)


_ALL = (
    Layout(
        "transforms",
        "transforms_<split>.json with its images, and points.npy if there is one",
        lambda folder, split: (folder / f"transforms_{split}.json").is_file(),
        _read_transforms,
    ),
    Layout(
        "consistent4d",
        "eval_0 to eval_3 with 0.png, 1.png and so on (Consistent4D's eval_gt)",
        lambda folder, split: any(folder.glob("eval_*/")),
        _read_consistent4d,
    ),
    Layout(
        "actionbench",
        "surfaces.npy, tracked points [T, N, 6] (ActionBench's data)",
        lambda folder, split: _points_of(folder) is not None,
        lambda folder, split: Truth(folder.name, points=_points_of(folder)),
    ),
    Layout("videos", "one video per view (V2M4)", lambda folder, split: bool(videos_in(folder)), _read_videos),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ALL}
