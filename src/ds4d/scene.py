"""A dynamic 3D object: everything that was learned, at any time, in and out of files.

A scene on disk is `scene.safetensors` (tensors) beside `scene.json` (what they mean). The json is written last, so a
folder that holds one holds a whole scene.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ds4d.config import from_dict, to_dict
from ds4d.deformation import DeformationField, FieldConfig
from ds4d.gaussians import GaussianParameters
from ds4d.imaging import atomic_path
from ds4d.types import Gaussians, RawGaussians, Similarity

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Clip:
    """What a scene knows of the clip it was made from.

    Attributes:
        times: of its frames, in [0, 1].
        duration: seconds.
        loops: whether the end runs on into the start.
    """

    times: tuple[float, ...]
    duration: float
    loops: bool

    @property
    def middle(self) -> int:
        """Index of the canonical frame, T // 2."""
        return len(self.times) // 2


class DynamicGaussians(nn.Module):
    """Canonical Gaussians and the field that moves them (paper, Sec. 3: static Gaussians, deformation MLP).

    Args:
        initial: canonical Gaussians in the inner world (object within radius 0.5 of the origin, y up).
        field_config: the deformation field, or None for an object that stands still.
        aabb: box of the HexPlane, inner units.
        clip: the frames' times.
        world: the user's world to the inner one.
    """

    world: Similarity

    def __init__(
        self,
        initial: RawGaussians,
        field_config: FieldConfig | None,
        aabb: Float[Tensor, "2 3"],
        clip: Clip,
        world: Similarity,
    ) -> None:
        super().__init__()
        self.gaussians = GaussianParameters(initial)
        self.field_config = field_config
        self.field = DeformationField(field_config, aabb, len(clip.times)) if field_config else None
        self.clip = clip
        self.world = world

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.gaussians.means.device

    def canonical(self) -> RawGaussians:
        """The undeformed Gaussians, without a time axis."""
        return self.gaussians.raw()

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T."""
        _check_times(times)
        raw = self.gaussians.raw()
        if self.field is not None:
            return self.field(raw, times)
        return raw.expand_times(len(times))

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Gaussians ready to be drawn at any times in [0, 1], with a leading axis T; inner world."""
        return self.raw_at(times).activate()

    def save(self, folder: Path) -> None:
        """Writes `scene.safetensors` and `scene.json` into an existing folder.

        Raises:
            ValueError: a tensor holds NaN or Inf; nothing is written then.
        """
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in self.state_dict().items()}
        _check_finite(tensors, "scene")
        world = _WorldRecord(
            self.world.scale,
            tuple(tuple(row) for row in self.world.rotation.tolist()),
            tuple(self.world.translation.tolist()),
        )
        bases = 1 + self.gaussians.shN.shape[1]
        record = _Record(FORMAT_VERSION, self.gaussians.num_gaussians, bases, self.field_config, self.clip, world)
        with atomic_path(folder / "scene.safetensors") as path:
            path.write_bytes(to_bytes(tensors))
        with atomic_path(folder / "scene.json") as path:
            path.write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> "DynamicGaussians":
        """Reads a scene that `save` wrote.

        Raises:
            ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf.
        """
        meta_path, tensor_path = folder / "scene.json", folder / "scene.safetensors"
        for path in (meta_path, tensor_path):
            if not path.is_file():
                raise ValueError(f"scene: {path} must exist, got none. Give the output folder of `ds4d generate`.")
        record = _read_record(meta_path)
        world = Similarity(
            record.world.scale, torch.tensor(record.world.rotation), torch.tensor(record.world.translation)
        )
        try:
            blank = _blank(record.num_gaussians, record.sh_bases)
            scene = DynamicGaussians(blank, record.field, torch.zeros(2, 3), record.clip, world)
            with safe_open(str(tensor_path), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            scene.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"scene: {tensor_path} is damaged or does not belong to {meta_path}: {error}") from error
        _check_finite(tensors, str(tensor_path))
        return scene.to(device)


@dataclass(frozen=True)
class _WorldRecord:
    scale: float
    rotation: tuple[tuple[float, ...], ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class _Record:
    """What scene.json holds."""

    format: int
    num_gaussians: int
    sh_bases: int
    field: FieldConfig | None
    clip: Clip
    world: _WorldRecord


def _read_record(path: Path) -> _Record:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"scene: {path} must be a scene's json, got {error!r}. Generate it again.") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"scene: {path} must have format {FORMAT_VERSION}, got {version}. Use the ds4d that wrote it.")
    try:
        return from_dict(_Record, content)
    except ValueError as error:
        raise ValueError(f"scene: {path} must be a scene's json, but {error}") from error


def _blank(count: int, bases: int) -> RawGaussians:
    """Room for Gaussians that are about to be loaded."""
    return RawGaussians(
        torch.zeros(count, 3),
        torch.zeros(count, 4),
        torch.zeros(count, 3),
        torch.zeros(count),
        torch.zeros(count, bases, 3),
    )


def _check_finite(tensors: dict[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{where}: {name} must be finite, got NaN or Inf. Its fit has diverged; do not use it.")


def _check_times(times: Tensor) -> None:
    # Comparing on a GPU would make every step wait for it; times are made on the CPU at the edges, and checked there.
    if times.device.type == "cpu" and ((times < 0).any() or (times > 1).any()):
        raise ValueError(
            f"times must lie in [0, 1], got {float(times.min())} to {float(times.max())}. Divide by the duration."
        )
