"""Folders of views, in whichever of the two layouts they have, and the settings that say how they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ds4d.core import check_ranges
from ds4d.data.image_sizes import GENERATED_WEIGHT
from ds4d.data.stag4d import load_stag4d
from ds4d.data.transforms import load_transforms
from ds4d.data.writer import read_fps
from ds4d.types import MultiViewVideo

_FPS = 24.0  # of clips whose files do not tell

ViewsSource = Literal["auto", "zero123plus", "inflate", "folder"]


@dataclass(frozen=True)
class ViewsConfig:
    """Where the views come from, and how a folder of views is read.

    Attributes:
        views: made of the video by zero123plus (needs weights) or inflate (embedded), or those of a folder. auto: the
            folder's if the input is one, else zero123plus on a GPU if its weights are found, else inflate.
        elevation: how far above the object the camera of a video stands, degrees. Zero123++ places its views by the
            horizon, so a wrong one tilts the object. To estimate it, make the views, and fit with 0 and with 20: under
            the right one the object stands upright and silhouettes agree.
        fovy: vertical field of view of a video once it is framed, degrees.
        splits: transforms files to train on, without transforms_ and .json; empty: train, else front and mv.
        rig: cameras of a STAG4D folder, by name or json file; its rig.json if None, else stag4d.
        up: axis of a transforms file's world that points up, y or z.
        size: height of the images in pixels; None: that of a folder's front view, and for a video 512.
        fps: frames per second of a folder's clip (its clip.json says, else 24, if None); frames to take of a video per
            second (evenly chosen if None).
        generated_weight: trust in the views besides the front, above 0; the front has 1. None: 0.5 for generated views, 1
            for recorded or rendered ones (transforms).
    """

    views: ViewsSource = "auto"
    elevation: float = 0.0
    fovy: float = 49.1
    splits: tuple[str, ...] = ()
    rig: str | None = None
    up: Literal["y", "z"] = "y"
    size: int | None = None
    fps: float | None = None
    generated_weight: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, elevation="(-90, 90)", fovy="(0, 180)")
        for name, interval in (("fps", "(0, inf)"), ("generated_weight", "(0, inf)"), ("size", "[1, inf)")):
            if getattr(self, name) is not None:
                check_ranges(self, **{name: interval})

    def refuse_set(self, names: tuple[str, ...], reason: str) -> None:
        """Refuses options that the input does not read, unless they are as they are by default.

        Raises:
            ValueError: one is set; the message names it and the reason.
        """
        for name in names:
            if getattr(self, name) != getattr(ViewsConfig, name):
                raise ValueError(
                    f"--{name} must not be given here, got {getattr(self, name)!r}: {reason}. Leave it out."
                )


def holds_views(path: Path) -> bool:
    """Whether a path is a folder of views from several sides, or of one with its cameras."""
    return ((path / "ref").is_dir() and (path / "zero123").is_dir()) or any(path.glob("transforms_*.json"))


def load_views(path: str | Path, config: ViewsConfig) -> MultiViewVideo:
    """The multi-view sequence in a folder, whichever of the two layouts it has, in the folder's own world.

    Args:
        path: STAG4D's layout (`ds4d.data.stag4d`) or transforms files (`ds4d.data.transforms`).
        config: how to read it.

    Raises:
        ValueError: the folder has neither layout, the config sets what its layout does not have, or something in the
            folder is wrong; the message names the file.
    """
    folder = Path(path)
    own = ("elevation", "fovy")
    if (folder / "ref").is_dir():
        config.refuse_set((*own, "splits", "up"), f"the rig of the STAG4D folder {folder} says where the cameras stand")
        weight = GENERATED_WEIGHT if config.generated_weight is None else config.generated_weight
        fps = config.fps or read_fps(folder) or _FPS
        return load_stag4d(folder, rig=config.rig, size=config.size, fps=fps, generated_weight=weight)
    if any(folder.glob("transforms_*.json")):
        config.refuse_set((*own, "rig"), f"{folder} holds transforms files, which say where the cameras stand")
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
