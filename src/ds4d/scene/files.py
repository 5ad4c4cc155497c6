"""The files of a scene.

`scene.safetensors` holds the tensors, `scene.json` says what they mean, and `baked.safetensors` holds the Gaussians of
every frame, for playback. The json is written last, so a folder with a `scene.json` holds a complete scene.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from ds4d.core import check_ranges, from_dict, to_dict
from ds4d.deformation import FieldConfig
from ds4d.fusion import FusionConfig
from ds4d.io import DamagedFileError, atomic_path, is_finite, read_json, write_tensors
from ds4d.io import read_tensors as read_checked
from ds4d.scene.base import Timeline
from ds4d.types import RawGaussians, Similarity

FORMAT_VERSION = 3
_MAX_GAUSSIANS, _MAX_FRAMES, _MAX_SIDE = 10**8, 10**5, 2**15
_MAX_DURATION = 1e6  # seconds


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
        root_rotation: whether the whole object turns before it is deformed.
    """

    format: int
    num_gaussians: int
    sh_bases: int
    field: FieldConfig | None
    fusion: FusionConfig | None
    image: tuple[int, ...] | None
    timeline: Timeline
    world: WorldRecord
    root_rotation: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, num_gaussians=f"[1, {_MAX_GAUSSIANS}]")
        if self.sh_bases not in (1, 4, 9, 16):
            raise ValueError(f"sh_bases must be 1, 4, 9 or 16, got {self.sh_bases}.")
        if self.image is not None and not (len(self.image) == 2 and all(1 <= n <= _MAX_SIDE for n in self.image)):
            raise ValueError(f"image must be a width and a height from 1 to {_MAX_SIDE}, got {self.image[:3]}.")
        if self.fusion is not None and (self.image is None or self.field is None):
            raise ValueError("fusion must come with field and image, got one without.")
        check_timeline(self.timeline)
        check_world(self.world)


def check_timeline(timeline: Timeline) -> None:
    """Refuses times that do not rise in [0, 1], or a duration that is none.

    Raises:
        ValueError: they do not, or it is none.
    """
    times = timeline.times
    is_rising = all(a < b for a, b in itertools.pairwise(times))
    if not 1 <= len(times) <= _MAX_FRAMES or not is_rising or not (times[0] >= 0 and times[-1] <= 1):
        raise ValueError(
            f"timeline.times must be 1 to {_MAX_FRAMES} times that rise in [0, 1], got {len(times)} others."
        )
    if not 0 < timeline.duration <= _MAX_DURATION:
        raise ValueError(f"timeline.duration must be in (0, {_MAX_DURATION:g}] seconds, got {timeline.duration}.")


def check_world(world: WorldRecord) -> None:
    """Refuses numbers that are no similarity.

    Raises:
        ValueError: they are not finite or too many, or the scale is not above 0.
    """
    if len(world.translation) != 3 or [len(row) for row in world.rotation] != [3, 3, 3]:
        raise ValueError("world must have a rotation of 3 x 3 and a translation of 3 numbers, got other counts.")
    values = [world.scale, *world.translation, *itertools.chain(*world.rotation)]
    if not all(map(math.isfinite, values)) or world.scale <= 0:
        raise ValueError(f"world must be of finite numbers and a scale above 0, got {world}.")


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
        content = read_json(path)
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
    """Reads one of a scene's safetensors files; names and shapes are left to the caller, who knows them.

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


def check_shapes(
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, Sequence[int | None]],
    dtypes: Mapping[str, torch.dtype] = MappingProxyType({}),
) -> None:
    """Refuses tensors that are not exactly these.

    Args:
        tensors: tensors by name.
        shapes: what their shapes must be, by the same names; None for any size from 1.
        dtypes: what their kinds must be, by name; single precision if not given.

    Raises:
        ValueError: a name is missing or too many, or a tensor has another shape or kind.
    """
    if tensors.keys() != shapes.keys():
        other = sorted(tensors.keys() ^ shapes.keys())
        raise ValueError(f"it must hold {', '.join(sorted(shapes))[:200]}, got a difference at {', '.join(other[:3])}")
    for name, shape in shapes.items():
        tensor, dtype = tensors[name], dtypes.get(name, torch.float32)
        fits = len(shape) == tensor.ndim and all(
            size == wanted if wanted is not None else size > 0 for size, wanted in zip(tensor.shape, shape, strict=True)
        )
        if not fits or tensor.dtype != dtype:
            named = ["any" if size is None else size for size in shape]
            raise ValueError(f"{name} must be {dtype} of shape {named}, got {tensor.dtype} of {list(tensor.shape)}")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        is_long = path.with_name("windows.json").is_file()
        fix = "Read a long clip by ds4d.load" if is_long else "Give the output folder of `ds4d generate`"
        raise ValueError(f"{path} must exist, got none. {fix}.")


def _check_finite(tensors: dict[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise ValueError(f"{where}: {name} must be finite, got NaN or Inf. The fit has diverged; do not use it.")
