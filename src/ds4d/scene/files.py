"""The files of a scene.

`scene.safetensors` holds the tensors, `scene.json` says what they mean, and `baked.safetensors` holds the Gaussians of
every frame, for playback. The json is written last, so a folder with a `scene.json` holds a complete scene.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ds4d.core import from_dict, to_dict
from ds4d.deformation import FieldConfig
from ds4d.fusion import FusionConfig
from ds4d.io import DamagedFileError, atomic_path, write_tensors
from ds4d.io import read_tensors as read_checked
from ds4d.scene.base import Timeline
from ds4d.types import RawGaussians, Similarity

FORMAT_VERSION = 3


@dataclass(frozen=True)
class WorldRecord:
    """A similarity as numbers."""

    scale: float
    rotation: tuple[tuple[float, ...], ...]
    translation: tuple[float, ...]

    @staticmethod
    def of(world: Similarity) -> "WorldRecord":
        """The record of a similarity."""
        rotation = tuple(tuple(row) for row in world.rotation.tolist())
        return WorldRecord(world.scale, rotation, tuple(world.translation.tolist()))

    def similarity(self) -> Similarity:
        """The similarity that was recorded."""
        return Similarity(self.scale, torch.tensor(self.rotation), torch.tensor(self.translation))


@dataclass(frozen=True)
class SceneRecord:
    """Content of scene.json.

    Attributes:
        format: version of the format.
        num_gaussians: number of Gaussians.
        sh_bases: number of spherical-harmonics bases per color channel.
        field: settings of the deformation field; None for a static object.
        fusion: settings of the feature fusion; None for a field without frame features.
        image: width and height in pixels of the images that the features were extracted from; None without features.
        timeline: times of the video's frames.
        world: similarity from world space to normalized space.
    """

    format: int
    num_gaussians: int
    sh_bases: int
    field: FieldConfig | None
    fusion: FusionConfig | None
    image: tuple[int, ...] | None
    timeline: Timeline
    world: WorldRecord


def write_scene(folder: Path, record: SceneRecord, tensors: dict[str, Tensor], baked: RawGaussians) -> None:
    """Writes the three files into an existing folder.

    Args:
        folder: output folder of a run.
        record: content of scene.json.
        tensors: content of scene.safetensors, by name.
        baked: Gaussians of every frame.

    Raises:
        ValueError: a tensor holds NaN or Inf; nothing is written then.
    """
    frames = {name: getattr(baked, name) for name in RawGaussians.__dataclass_fields__}
    for content in (tensors, frames):
        _check_finite(content, "scene")
    for name, content in (("scene", tensors), ("baked", frames)):
        write_tensors(folder / f"{name}.safetensors", content)
    with atomic_path(folder / "scene.json", durable=True) as path:
        path.write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")


def read_record(folder: Path) -> SceneRecord:
    """Reads scene.json.

    Raises:
        ValueError: the file is missing, damaged, or of another format version.
    """
    path = folder / "scene.json"
    _check_exists(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a scene's json, got {error!r}. Generate the scene again.") from error
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        reader = "a newer ds4d" if newer else "ds4d 0.1"
        fix = f"Use {reader}, which reads it, or generate the scene again"
        raise ValueError(f"{path} must have format {FORMAT_VERSION}, got {version}. {fix}.")
    try:
        return from_dict(SceneRecord, content)
    except ValueError as error:
        raise ValueError(f"{path} must be a scene's json, but {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads one of a scene's safetensors files.

    Raises:
        ValueError: the file is missing or damaged, or a tensor holds NaN or Inf.
    """
    _check_exists(path)
    try:
        tensors, _ = read_checked(path)
    except DamagedFileError as error:
        raise mismatch(path, error) from error
    _check_finite(tensors, str(path))
    return tensors


def mismatch(path: Path, error: Exception) -> ValueError:
    """The error for a file that is damaged or does not belong to the scene.json beside it."""
    return ValueError(f"{path} must be whole and belong to {path.with_name('scene.json')}, got: {error}.")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path} must exist, got none. Give the output folder of `ds4d generate`.")


def _check_finite(tensors: dict[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{where}: {name} must be finite, got NaN or Inf. The fit has diverged; do not use it.")
