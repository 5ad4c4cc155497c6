"""The synthetic scene as training data: a folder of images with cameras, or a video in memory."""

import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.data.synthetic.rendering import render_sample
from ds4d.geometry import RigView, frame_times, opencv_to_opengl, rig_cameras
from ds4d.io import on_white, premultiply, read_json, write_png, write_video
from ds4d.types import ArrayFrames, MultiViewVideo

_FOVY_DEG, _DISTANCE = 33.9, 2.0


def _views(name: str, azimuths: Sequence[float], elevations: Sequence[float]) -> tuple[RigView, ...]:
    angles = enumerate(zip(azimuths, elevations, strict=True))
    return tuple(RigView(f"{name}{i}", azimuth, elevation, _FOVY_DEG, _DISTANCE) for i, (azimuth, elevation) in angles)


SPLITS: dict[str, tuple[RigView, ...]] = {
    "front": (RigView("front", 0.0, 0.0, _FOVY_DEG, _DISTANCE),),
    "mv": _views("mv", [30.0 + 60.0 * i for i in range(6)], [20.0, -10.0] * 3),
    "test": _views("test", [-75.0, 15.0, 105.0, 195.0], [0.0, 5.0, 10.0, 5.0]),
}
_RECORD = "sample.json"
_OUTPUTS = re.compile(r"(front|mv|test)/\w+\.png|transforms_(front|mv|test)\.json|front\.mp4")
_MAX_FRAMES, _MAX_SIZE, _MAX_SUPERSAMPLING = 10**4, 4096, 16


@dataclass(frozen=True)
class SampleConfig:
    """Size of the synthetic sample.

    Attributes:
        frames: number of frames, over one period of the motion; the last pose equals the first.
        size: height and width of the images, pixels.
        supersampling: rays per pixel along each axis.
        fps: frame rate of the video.
    """

    frames: int = 24
    size: int = 256
    supersampling: int = 3
    fps: float = 12.0

    def __post_init__(self) -> None:
        check_ranges(self, frames=f"[1, {_MAX_FRAMES}]", size=f"[1, {_MAX_SIZE}]", fps="(0, inf)")
        check_ranges(self, supersampling=f"[1, {_MAX_SUPERSAMPLING}]")


def sample_video(config: SampleConfig, splits: Sequence[str] = ("front", "mv")) -> MultiViewVideo:
    """The sample in memory.

    Args:
        config: size of the sample.
        splits: keys of `SPLITS`; the first view of the first split is view 0.
    """
    rig = tuple(view for split in splits for view in SPLITS[split])
    cameras = rig_cameras(rig, config.size, config.size)
    times = frame_times(config.frames)
    images = render_sample(cameras, times, supersampling=config.supersampling)
    flat = images.reshape(-1, config.size, 4)
    return MultiViewVideo(
        frames=ArrayFrames(premultiply(flat).reshape(images.shape)),
        cameras=cameras.expand_times(config.frames),
        valid=torch.ones(config.frames, len(rig), dtype=torch.bool),
        times=times,
        view_names=tuple(view.name for view in rig),
        view_weights=torch.ones(len(rig)),
        duration=config.frames / config.fps,
        loops=True,
    )


def write_sample(folder: str | Path, config: SampleConfig) -> None:
    """Writes the images and transforms_<split>.json (D-NeRF keys) of all `SPLITS`, and the input view as a video.

    The splits front and mv are for training, test has held-out views. The folder is written completely or not at all.

    Args:
        folder: new or empty folder, or an earlier output of this function, which is replaced if it holds nothing else
            and no file was changed.
        config: size of the sample.

    Raises:
        ValueError: the folder has other or changed content.
    """
    target = Path(os.path.realpath(folder))
    _earlier_files(target)
    staging = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    staging.mkdir(parents=True)
    try:
        for split in SPLITS:
            _write_split(staging, split, config)
        record = {"made_by": "ds4d sample", **asdict(config), "sha256": _digests(staging)}
        (staging / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if target.exists():
            _remove(target, _earlier_files(target))  # again: rendering takes long enough to put something there
        os.replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _earlier_files(target: Path) -> set[str]:
    """The files of an earlier sample, as it wrote them; empty if there is nothing yet.

    Raises:
        ValueError: there is anything else.
    """
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return set()
    found, written = _digests(target) if target.is_dir() else {target.name: ""}, _recorded_digests(target)
    foreign = sorted(name for name in found if found[name] != written.get(name))
    if foreign or not written:
        raise ValueError(
            f"{target} must be a new or empty folder or an earlier, unchanged sample, got one with "
            f"{', '.join(foreign[:3]) or 'other files'}. Choose another folder, or empty this one."
        )
    return set(found)


def _recorded_digests(target: Path) -> dict[str, str]:
    """SHA-256 of the files that a sample holds by its record, and of the record itself; empty if there is none."""
    path = target / _RECORD
    try:
        digests = read_json(path)["sha256"]
        return {name: digests[name] for name in digests if _OUTPUTS.fullmatch(name)} | {_RECORD: _digest(path)}
    except (ValueError, OSError, KeyError, TypeError):
        return {}


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path; empty text for what is no file, and for empty folders."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        is_folder = path.is_dir() and not path.is_symlink()
        if not is_folder or not any(path.iterdir()):
            digests[path.relative_to(folder).as_posix()] = "" if is_folder else _digest(path)
    return digests


def _digest(path: Path) -> str:
    is_file = path.is_file() and not path.is_symlink()
    return hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""


def _remove(target: Path, names: set[str]) -> None:
    """Removes these files and the folders that are empty then; whatever else has appeared meanwhile stays."""
    for name in names:
        (target / name).unlink()
    for folder in sorted((path for path in target.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    target.rmdir()


def _write_split(folder: Path, split: str, config: SampleConfig) -> None:
    rig, times = SPLITS[split], frame_times(config.frames)
    cameras = rig_cameras(rig, config.size, config.size)
    images = render_sample(cameras, times, supersampling=config.supersampling)
    camtoworlds = opencv_to_opengl(cameras.viewmats.double())
    frames = []
    for frame, time in enumerate(times.tolist()):
        for view, camtoworld, image in zip(rig, camtoworlds, images[frame], strict=True):
            name = f"{split}/{frame:03d}" if len(rig) == 1 else f"{split}/{view.name}_{frame:03d}"
            write_png(folder / f"{name}.png", image)
            keys = {"file_path": f"./{name}", "image": f"{name}.png", "time": round(time, 6), "frame": frame}
            frames.append({**keys, "split": split, **_camera_keys(view, camtoworld)})
    head = {"camera_angle_x": math.radians(_FOVY_DEG), "w": config.size, "h": config.size, "extension": ".png"}
    (folder / f"transforms_{split}.json").write_text(json.dumps({**head, "frames": frames}, indent=1))
    if split == "front":
        write_video(folder / "front.mp4", (on_white(premultiply(image)) for image in images[:, 0]), config.fps)


def _camera_keys(view: RigView, camtoworld: Float[Tensor, "4 4"]) -> dict[str, Any]:
    return {
        "view": view.name,
        "azimuth": view.azimuth,
        "elevation": view.elevation,
        "distance": view.distance,
        "transform_matrix": [[round(value, 9) + 0.0 for value in row] for row in camtoworld.tolist()],
    }
