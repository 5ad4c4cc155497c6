"""A dynamic 3D object: everything that was learned, at any time, in and out of files.

A scene on disk is `scene.safetensors` (tensors) beside `scene.json` (what they mean), and `baked.safetensors` (the
Gaussians of every frame, for playing). The json is written last, so a folder that holds one holds a whole scene.
"""

import json
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from ds4d.core import from_dict, to_dict, tracked
from ds4d.deformation import DeformationField, FieldConfig
from ds4d.fusion import FusionConfig
from ds4d.geometry import nearest_frames
from ds4d.io import atomic_path
from ds4d.scene.frame_features import FrameFeatureCache
from ds4d.scene.motion import Motion
from ds4d.scene.parameters import GaussianParameters
from ds4d.types import Cameras, Gaussians, RawGaussians, Similarity

FORMAT_VERSION = 3


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


@runtime_checkable
class Scene(Protocol):
    """A dynamic object as those see it who draw, score or export it."""

    clip: Clip
    world: Similarity

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        ...

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; inner world."""
        ...

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Gaussians ready to be drawn at any times in [0, 1], with a leading axis T; inner world."""
        ...


class DynamicGaussians(nn.Module):
    """Canonical Gaussians and what moves them (paper, Sec. 3: static Gaussians, deformation MLP).

    Args:
        initial: canonical Gaussians in the inner world (object within radius 0.5 of the origin, y up).
        motion: what moves them, or None for an object that stands still.
        clip: the frames' times.
        world: the user's world to the inner one.
    """

    def __init__(self, initial: RawGaussians, motion: Motion | None, clip: Clip, world: Similarity) -> None:
        super().__init__()
        self.gaussians = GaussianParameters(initial)
        self.motion = motion
        self.clip = clip
        self.world = world

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.gaussians.means.device

    @property
    def field(self) -> DeformationField | None:
        """The deformation field, if anything moves."""
        return self.motion.field if self.motion else None

    def canonical(self) -> RawGaussians:
        """The undeformed Gaussians, without a time axis."""
        return self.gaussians.raw()

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T."""
        _check_times(times)
        raw = self.gaussians.raw()
        if self.motion is not None:
            return self.motion(raw, times)
        return raw.expand_times(len(times))

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Gaussians ready to be drawn at any times in [0, 1], with a leading axis T; inner world."""
        return self.raw_at(times).activate()

    @torch.no_grad()
    def reach(self) -> Float[Tensor, " N"]:
        """The farthest that each Gaussian's center gets from the origin at any frame's time, inner units."""
        pieces = torch.tensor(self.clip.times, device=self.device).split(_BAKED_AT_ONCE)
        return torch.stack([self.raw_at(times).means.norm(dim=-1).amax(0) for times in pieces]).amax(0)

    def folded(self) -> "DynamicGaussians":
        """The finished scene: the learned map of the features is applied to the maps, which need no more room then.

        Shares all parameters; itself if it has no features.
        """
        if self.motion is None:
            return self
        other = copy(self)
        other._modules = {**self._modules, "motion": self.motion.folded()}
        return other

    def bake(self) -> "BakedGaussians":
        """Evaluates all frames once: what is left needs neither feature maps nor networks."""
        return bake_at(self, torch.tensor(self.clip.times))

    def save(self, folder: Path) -> None:
        """Writes `scene.safetensors`, `baked.safetensors` and `scene.json` into an existing folder.

        Raises:
            ValueError: a tensor holds NaN or Inf; nothing is written then.
        """
        scene = self.folded()
        tensors = dict(scene.state_dict())
        features = scene.motion.features if scene.motion else None
        if features is not None:
            tensors |= {f"{_FEATURES}{name}": tensor for name, tensor in features.fixed().items()}
        _check_finite(tensors, "scene")
        baked = {name: getattr(scene.bake().frames, name) for name in RawGaussians.__dataclass_fields__}
        _check_finite(baked, "scene")
        world = _WorldRecord(
            self.world.scale,
            tuple(tuple(row) for row in self.world.rotation.tolist()),
            tuple(self.world.translation.tolist()),
        )
        record = _Record(
            format=FORMAT_VERSION,
            num_gaussians=self.gaussians.num_gaussians,
            sh_bases=1 + self.gaussians.shN.shape[1],
            field=scene.motion.field.config if scene.motion else None,
            fusion=scene.motion.tssf.config if scene.motion and scene.motion.tssf else None,
            image=(features.width, features.height) if features else None,
            clip=self.clip,
            world=world,
        )
        for name, content in (("scene", tensors), ("baked", baked)):
            plain = {key: tensor.detach().contiguous().cpu() for key, tensor in content.items()}
            with atomic_path(folder / f"{name}.safetensors") as path:
                path.write_bytes(to_bytes(plain))
        with atomic_path(folder / "scene.json") as path:
            path.write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> "DynamicGaussians":
        """Reads a scene that `save` wrote.

        Raises:
            ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf.
        """
        record = _read_record(folder)
        path = folder / "scene.safetensors"
        tensors = _read_tensors(path, folder)
        try:
            scene = _blank_scene(record, tensors)
            scene.load_state_dict({name: value for name, value in tensors.items() if name not in _unlearned(tensors)})
        except (KeyError, RuntimeError, ValueError) as error:
            raise _strange(path, folder, error) from error
        return scene.to(device)


class BakedGaussians:
    """A dynamic object as the Gaussians of its frames; between two frames they are blended.

    Args:
        frames: raw Gaussians with a leading axis T; the color may do without.
        clip: the frames' times.
        world: the user's world to the inner one.
    """

    def __init__(self, frames: RawGaussians, clip: Clip, world: Similarity) -> None:
        self.frames = frames
        self.clip = clip
        self.world = world
        self._times = torch.tensor(clip.times, device=frames.means.device)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.frames.means.device

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; a frame's own at its time."""
        _check_times(times)
        low, high, share = nearest_frames(self._times, times)

        def blend(frames: Tensor) -> Tensor:
            weight = share.reshape(-1, *[1] * (frames.ndim - 1))
            return torch.lerp(frames[low], frames[high], weight.expand(-1, *frames.shape[1:]))

        sh = blend(self.frames.sh) if self.frames.sh.ndim == 4 else self.frames.sh
        return RawGaussians(**{name: blend(getattr(self.frames, name)) for name in _MOVING}, sh=sh)

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Gaussians ready to be drawn at any times in [0, 1], with a leading axis T; inner world."""
        return self.raw_at(times).activate()

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> "BakedGaussians":
        """Reads the frames of a scene that `DynamicGaussians.save` wrote.

        Raises:
            ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf.
        """
        record = _read_record(folder)
        path = folder / "baked.safetensors"
        tensors = _read_tensors(path, folder)
        try:
            frames = RawGaussians(**tensors)
            if frames.means.shape[:-1] != (len(record.clip.times), record.num_gaussians):
                raise ValueError(f"it holds {list(frames.means.shape[:-1])} frames and Gaussians")
        except (TypeError, ValueError) as error:
            raise _strange(path, folder, error) from error
        return BakedGaussians(frames.to(device), record.clip, record.world.similarity())


def bake_at(scene: Scene, times: Float[Tensor, " T"]) -> BakedGaussians:
    """Evaluates a scene once, with other frames than its clip's own if asked.

    Args:
        scene: of which nothing else is needed then.
        times: of the frames, in [0, 1], rising.
    """
    with torch.no_grad():
        several = tracked(times.to(scene.device).split(_BAKED_AT_ONCE), "moving the Gaussians")
        frames = [scene.raw_at(some) for some in several]
    parts = {name: torch.cat([getattr(part, name) for part in frames]) for name in _MOVING}
    sh = torch.cat([part.sh for part in frames]) if frames[0].sh.ndim == 4 else frames[0].sh
    clip = replace(scene.clip, times=tuple(times.tolist()))
    return BakedGaussians(RawGaussians(**parts, sh=sh), clip, scene.world)


_BAKED_AT_ONCE = 4  # frames
_MOVING = ("means", "quats", "log_scales", "opacity_logits")
_FEATURES = "features."  # prefix of the frame features that are no part of the state


@dataclass(frozen=True)
class _WorldRecord:
    scale: float
    rotation: tuple[tuple[float, ...], ...]
    translation: tuple[float, ...]

    def similarity(self) -> Similarity:
        return Similarity(self.scale, torch.tensor(self.rotation), torch.tensor(self.translation))


@dataclass(frozen=True)
class _Record:
    """What scene.json holds."""

    format: int
    num_gaussians: int
    sh_bases: int
    field: FieldConfig | None
    fusion: FusionConfig | None
    image: tuple[int, ...] | None
    clip: Clip
    world: _WorldRecord


def _read_record(folder: Path) -> _Record:
    path = folder / "scene.json"
    _check_exists(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"scene: {path} must be a scene's json, got {error!r}. Generate it again.") from error
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        reader = "a newer ds4d" if newer else "ds4d 0.1"
        fix = f"Use {reader}, which reads it, or generate the scene again."
        raise ValueError(f"scene: {path} must have format {FORMAT_VERSION}, got {version}. {fix}")
    try:
        return from_dict(_Record, content)
    except ValueError as error:
        raise ValueError(f"scene: {path} must be a scene's json, but {error}") from error


def _read_tensors(path: Path, folder: Path) -> dict[str, Tensor]:
    _check_exists(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _strange(path, folder, error) from error
    _check_finite(tensors, str(path))
    return tensors


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"scene: {path} must exist, got none. Give the output folder of `ds4d generate`.")


def _strange(path: Path, folder: Path, error: Exception) -> ValueError:
    return ValueError(f"scene: {path} is damaged or does not belong to {folder / 'scene.json'}: {error}")


def _unlearned(tensors: dict[str, Tensor]) -> set[str]:
    """The clip's features among a scene's tensors: they are no part of its state."""
    return {name for name in tensors if name.startswith(_FEATURES)}


def _blank_scene(record: _Record, tensors: dict[str, Tensor]) -> DynamicGaussians:
    """A scene with the record's shapes, about to be loaded; the clip's features are there already."""
    features = None
    if record.fusion is not None and record.image is not None:
        parts: dict[str, Any] = {name.removeprefix(_FEATURES): tensors[name] for name in _unlearned(tensors)}
        parts |= {name: tensors.get(f"motion.features.{name}") for name in ("depths", "warps")}
        cameras = Cameras(parts.pop("viewmats"), parts.pop("Ks"), *record.image)
        features = FrameFeatureCache(**parts, cameras=cameras)
    motion = None
    if record.field is not None:
        blank = torch.zeros(2, 3)
        motion = Motion(record.field, blank, len(record.clip.times), fusion=record.fusion, features=features)
        if motion.tssf is not None:
            motion.tssf = motion.tssf.folded()
    blank = _blank(record.num_gaussians, record.sh_bases)
    return DynamicGaussians(blank, motion, record.clip, record.world.similarity())


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
