"""Reading a scene from the folder of a run, whether it is whole or in windows."""

from pathlib import Path

import torch

from ds4d.scene.baked_gaussians import BakedGaussians
from ds4d.scene.dynamic_gaussians import DynamicGaussians
from ds4d.scene.files import read_tensors
from ds4d.scene.windowed_gaussians import WindowedGaussians, windows_file


def read_scene(folder: Path, device: torch.device | str = "cpu") -> DynamicGaussians | WindowedGaussians:
    """The scene in a folder, whose motion is evaluated at any time.

    Args:
        folder: output folder of `ds4d generate`.
        device: device that the tensors are moved to.

    Raises:
        ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf; of a scene
            in windows, those of a window when it is first needed.
    """
    if windows_file(folder).is_file():
        return WindowedGaussians(folder, DynamicGaussians.load, device)
    return DynamicGaussians.load(folder, device)


def read_baked_scene(folder: Path, device: torch.device | str = "cpu") -> BakedGaussians | WindowedGaussians:
    """The scene in a folder by the Gaussians of its frames; see `read_scene`."""
    if windows_file(folder).is_file():
        return WindowedGaussians(folder, BakedGaussians.load, device)
    return BakedGaussians.load(folder, device)


def check_scene_files(folder: Path) -> None:
    """Refuses a scene whose tensors are not whole, also those that playback does not read.

    Args:
        folder: output folder of `ds4d generate`.

    Raises:
        ValueError: a file is missing or damaged, or holds NaN or Inf; the message names it.
    """
    windows = sorted((folder / "windows").iterdir()) if windows_file(folder).is_file() else [folder]
    for path in windows:
        read_tensors(path / "scene.safetensors")
