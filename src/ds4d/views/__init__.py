"""Multi-view sequences: made elsewhere and read from folders, or made here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ds4d.config import check_ranges
from ds4d.types import MultiViewVideo
from ds4d.views.frame_store import FrameStore as FrameStore
from ds4d.views.masks import check_masks as check_masks
from ds4d.views.perturbed import PerturbationConfig as PerturbationConfig
from ds4d.views.perturbed import perturb_views as perturb_views
from ds4d.views.stag4d import load_stag4d as load_stag4d
from ds4d.views.transforms import load_transforms as load_transforms
from ds4d.views.transforms_file import TransformsFrame as TransformsFrame
from ds4d.views.transforms_file import read_transforms as read_transforms


@dataclass(frozen=True)
class ViewsConfig:
    """How a folder of views is read.

    Attributes:
        splits: transforms files to train on, without transforms_ and .json; empty: train, else front and mv.
        rig: cameras of a STAG4D folder, by name or json file.
        up: axis of a transforms file's world that points up, y or z.
        size: height of the pictures in pixels; that of the front view if None.
        fps: frames per second of the clip, which the files do not tell.
        novel_weight: trust in the views besides the front, above 0; the front has 1. None: 0.5 for generated views
            (STAG4D), 1 for filmed or rendered ones (transforms).
    """

    splits: tuple[str, ...] = ()
    rig: str = "stag4d"
    up: Literal["y", "z"] = "y"
    size: int | None = None
    fps: float = 24.0
    novel_weight: float | None = None

    def __post_init__(self) -> None:
        check_ranges(self, fps="(0, inf)")
        if self.novel_weight is not None:
            check_ranges(self, novel_weight="(0, inf)")
        if self.size is not None:
            check_ranges(self, size="[1, inf)")


def load_views(path: str | Path, config: ViewsConfig) -> MultiViewVideo:
    """The multi-view sequence in a folder, whichever of the two layouts it has, in the folder's own world.

    Args:
        path: STAG4D's layout (`ds4d.views.stag4d`) or transforms files (`ds4d.views.transforms`).
        config: how to read it.

    Raises:
        ValueError: the folder has neither layout, the config sets what its layout does not have, or something in the
            folder is wrong; the message names the file.
    """
    folder = Path(path)
    if (folder / "ref").is_dir():
        _refuse_set(config, ("splits", "up"), f"{folder} is a STAG4D folder, whose rig says where the cameras stand")
        weight = 0.5 if config.novel_weight is None else config.novel_weight
        return load_stag4d(folder, rig=config.rig, size=config.size, fps=config.fps, novel_weight=weight)
    if any(folder.glob("transforms_*.json")):
        _refuse_set(config, ("rig",), f"{folder} holds transforms files, which say where the cameras stand")
        return load_transforms(
            folder,
            splits=config.splits,
            up=config.up,
            size=config.size,
            fps=config.fps,
            novel_weight=1.0 if config.novel_weight is None else config.novel_weight,
        )
    raise ValueError(
        f"{folder} must be a folder of multi-view frames, got {'neither layout' if folder.is_dir() else 'no folder'}. "
        "Give ref/<i>_rgba.png with zero123/<i>_rgba/<k>.png (STAG4D), or transforms_<split>.json with its pictures."
    )


def _refuse_set(config: ViewsConfig, names: tuple[str, ...], reason: str) -> None:
    """An option that the layout does not read must stay as it is by default."""
    for name in names:
        if getattr(config, name) != getattr(ViewsConfig(), name):
            raise ValueError(f"--{name} must not be given here, got {getattr(config, name)!r}: {reason}. Leave it out.")
