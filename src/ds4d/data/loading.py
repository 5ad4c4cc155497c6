"""Folders of multi-view frames in either of two layouts, and the settings for reading them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ds4d.core import check_ranges
from ds4d.data.combining import GENERATED_WEIGHT
from ds4d.data.stag4d import load_stag4d, read_fps
from ds4d.data.transforms import load_transforms
from ds4d.types import MultiViewVideo

_FPS = 24.0  # if the files do not state a frame rate


@dataclass(frozen=True)
class FolderConfig:
    """How a folder of multi-view frames is read.

    Attributes:
        splits: transforms files to train on, without transforms_ and .json; by default train, or else front and mv.
        rig: camera rig of a STAG4D folder, by name or JSON file; by default the folder's rig.json, or else stag4d.
        up: up axis of the world of transforms files, y or z.
        size: height of the images, pixels; by default that of the folder's input view, and 512 for a video.
        fps: frame rate of a folder's frames, by default that in its clip.json or else 24; for a video, frames to take
            per second, by default evenly spaced ones.
        generated_weight: loss weight of all views but the input view, which has 1; by default 0.5 for generated views
            and 1 for the views of transforms files.
    """

    splits: tuple[str, ...] = ()
    rig: str | None = None
    up: Literal["y", "z"] = "y"
    size: int | None = None
    fps: float | None = None
    generated_weight: float | None = None

    def __post_init__(self) -> None:
        for name, interval in (("fps", "(0, inf)"), ("generated_weight", "(0, inf)"), ("size", "[1, inf)")):
            if getattr(self, name) is not None:
                check_ranges(self, **{name: interval})


def refuse_options(config: Any, names: Iterable[str], reason: str) -> None:
    """Refuses options that do not apply to an input.

    Args:
        config: settings that the options set.
        names: names of the fields that must have their defaults.
        reason: why, to end the error message.

    Raises:
        ValueError: one of them has another value.
    """
    for name in names:
        value = getattr(config, name)
        if value != getattr(type(config), name):
            raise ValueError(f"--{name.replace('_', '-')} must not be given, got {value}: {reason}. Leave it out.")


def is_view_folder(path: Path) -> bool:
    """Whether a path is a folder in one of the layouts that `load_views` reads."""
    return ((path / "ref").is_dir() and (path / "zero123").is_dir()) or any(path.glob("transforms_*.json"))


def load_views(path: str | Path, config: FolderConfig) -> MultiViewVideo:
    """Loads the multi-view video in a folder, in the world of its cameras.

    Args:
        path: folder in STAG4D's layout (`ds4d.data.stag4d`) or with transforms files (`ds4d.data.transforms`).
        config: how to read it.

    Raises:
        ValueError: the folder has neither layout, an option does not apply to its layout, or a file cannot be used; the
            message names it.
    """
    folder = Path(path)
    if (folder / "ref").is_dir():
        refuse_options(config, ("splits", "up"), f"{folder} is a STAG4D folder, whose cameras are those of a rig")
        weight = GENERATED_WEIGHT if config.generated_weight is None else config.generated_weight
        fps = config.fps or read_fps(folder) or _FPS
        return load_stag4d(folder, rig=config.rig, size=config.size, fps=fps, generated_weight=weight)
    if any(folder.glob("transforms_*.json")):
        refuse_options(config, ("rig",), f"{folder} holds transforms files with its cameras")
        return load_transforms(
            folder,
            splits=config.splits,
            up=config.up,
            size=config.size,
            fps=config.fps or _FPS,
            generated_weight=1.0 if config.generated_weight is None else config.generated_weight,
        )
    raise ValueError(
        f"{folder} must be a folder of multi-view frames, got {'neither layout' if folder.is_dir() else 'no folder'}. "
        "Give ref/<i>_rgba.png with zero123/<i>_rgba/<k>.png (STAG4D), or transforms_<split>.json with its images."
    )
