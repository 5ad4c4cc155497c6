"""The fitted scene: canonical Gaussians and the motion that deforms them, evaluated at any time."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ds4d.deformation import DeformationField, RootRotation
from ds4d.scene.baked_gaussians import FRAMES_AT_ONCE, BakedGaussians, bake_at
from ds4d.scene.base import Timeline, check_times
from ds4d.scene.files import (
    FORMAT_VERSION,
    SceneRecord,
    WorldRecord,
    check_shapes,
    mismatch,
    read_record,
    read_tensors,
    write_scene,
)
from ds4d.scene.frame_features import FrameFeatureCache
from ds4d.scene.lifetimes import are_alive, finite_lifetimes, hide_dead
from ds4d.scene.motion import Motion
from ds4d.scene.parameters import GaussianParameters
from ds4d.types import Cameras, Gaussians, RawGaussians, Similarity

_LIFETIMES = "gaussians.lifetimes"
_FEATURES = "features."  # prefix of the frame features that training leaves unchanged


class DynamicGaussians(nn.Module):
    """Canonical Gaussians and their motion (paper, Sec. 3: static Gaussians, deformation MLP).

    canonical Gaussians --motion(times)--> raw Gaussians [T, N] --activate--> Gaussians that can be rendered

    Args:
        initial: canonical Gaussians in normalized space (object within radius 0.5 of the origin, y up).
        motion: deformation of the Gaussians over time; None for a static object.
        timeline: times of the video's frames.
        world: similarity from world space to normalized space.
        lifetimes: birth and death of each Gaussian, in seconds of the timeline (`ds4d.scene.lifetimes`); None if all
            live at all times.

    Raises:
        ValueError: a Gaussian dies before it is born.
    """

    def __init__(
        self,
        initial: RawGaussians,
        motion: Motion | None,
        timeline: Timeline,
        world: Similarity,
        lifetimes: Float[Tensor, "N 2"] | None = None,
    ) -> None:
        super().__init__()
        self.gaussians = GaussianParameters(initial, lifetimes)
        self.motion = motion
        self.timeline = timeline
        self.world = world

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.gaussians.means.device

    @property
    def field(self) -> DeformationField | None:
        """The deformation field; None for a static object."""
        return self.motion.field if self.motion else None

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians."""
        return self.gaussians.num_gaussians

    def canonical(self) -> RawGaussians:
        """The undeformed Gaussians, without a time axis."""
        return self.gaussians.raw()

    def alive_at(self, times: Float[Tensor, " T"]) -> Bool[Tensor, "T N"] | None:
        """Whether each Gaussian lives at each time in [0, 1]; None if all live at all times."""
        lifetimes = self.gaussians.lifetimes
        return None if lifetimes is None else are_alive(lifetimes, times * self.timeline.duration)

    def raw_at(self, times: Float[Tensor, " T"]) -> RawGaussians:
        """Raw Gaussians at any times in [0, 1], with a leading axis T; normalized space. The dead are transparent."""
        check_times(times)
        raw = self.gaussians.raw()
        raw = self.motion(raw, times) if self.motion is not None else raw.expand_times(len(times))
        alive = self.alive_at(times)
        return raw if alive is None else hide_dead(raw, alive)

    def at(self, times: Float[Tensor, " T"]) -> Gaussians:
        """Activated Gaussians, ready to be rendered, at any times in [0, 1]; leading axis T, normalized space."""
        return self.raw_at(times).activate()

    @torch.no_grad()
    def max_distances(self) -> Float[Tensor, " N"]:
        """Largest distance of each Gaussian's center from the origin over the frames of its life, normalized units."""
        largest = []
        for times in torch.tensor(self.timeline.times, device=self.device).split(FRAMES_AT_ONCE):
            distances, alive = self.raw_at(times).means.norm(dim=-1), self.alive_at(times)
            largest.append((distances if alive is None else distances * alive).amax(0))
        return torch.stack(largest).amax(0)

    def folded(self) -> "DynamicGaussians":
        """The scene with the learned linear map of TSSF folded into the feature maps, which shrinks them.

        For a finished fit; shares all parameters. A scene without features is returned as it is.
        """
        if self.motion is None:
            return self
        other = copy(self)
        other._modules = {**self._modules, "motion": self.motion.folded()}
        return other

    def bake(self) -> BakedGaussians:
        """Evaluates all frames once; the result needs neither feature maps nor networks."""
        return bake_at(self, torch.tensor(self.timeline.times))

    def save(self, folder: Path) -> None:
        """Writes the scene's files (`ds4d.scene.files`) into an existing folder.

        Args:
            folder: output folder of the run.

        Raises:
            ValueError: a tensor holds NaN or Inf; nothing is written then.
        """
        scene = self.folded()
        motion, tensors = scene.motion, dict(scene.state_dict())
        features = motion.features if motion else None
        if features is not None:
            tensors |= {f"{_FEATURES}{name}": tensor for name, tensor in features.fixed().items()}
        record = SceneRecord(
            format=FORMAT_VERSION,
            num_gaussians=self.gaussians.num_gaussians,
            sh_bases=1 + self.gaussians.shN.shape[1],
            field=motion.field.config if motion else None,
            fusion=motion.tssf.config if motion and motion.tssf else None,
            image=(features.width, features.height) if features else None,
            timeline=self.timeline,
            world=WorldRecord.of(self.world),
            root_rotation=motion is not None and motion.root is not None,
        )
        write_scene(folder, record, tensors, scene.bake().frames)

    @staticmethod
    def load(folder: Path, device: torch.device | str = "cpu") -> "DynamicGaussians":
        """Reads a scene that `save` wrote.

        Args:
            folder: output folder of `ds4d generate`.
            device: device that the tensors are moved to.

        Raises:
            ValueError: a file is missing, damaged, or of another format version, or a tensor holds NaN or Inf.
        """
        record = read_record(folder)
        path = folder / "scene.safetensors"
        tensors = read_tensors(path)
        try:
            _check_features(record, tensors)
            stored = {name: value for name, value in tensors.items() if not name.startswith(_FEATURES)}
            with torch.device("meta"):  # what the record describes must not take more memory than what is stored
                described = _scene_of(record, tensors).state_dict()
            check_shapes(
                stored,
                {name: tuple(value.shape) for name, value in described.items()},
                {name: value.dtype for name, value in described.items()},
            )
            scene = _scene_of(record, tensors)
            scene.load_state_dict(stored)
            if _LIFETIMES in stored:
                finite_lifetimes(stored[_LIFETIMES])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise mismatch(path, error) from error
        return scene.to(device)


def _check_features(record: SceneRecord, tensors: dict[str, Tensor]) -> None:
    """Refuses frame features that are not those of the record's times, fusion rule and cameras."""
    names = {name for name in tensors if name.startswith((_FEATURES, f"motion.{_FEATURES}"))}
    shapes: dict[str, Sequence[int | None]] = {}
    dtypes: dict[str, torch.dtype] = {}
    if record.fusion is not None:
        times = len(record.timeline.times)
        views = len(tensors[f"{_FEATURES}viewmats"]) or None
        shapes |= {"maps": (times, views, record.fusion.channels, None, None), "valid": (times, views)}
        shapes |= {"times": (times,), "viewmats": (views, 4, 4), "Ks": (views, 3, 3)}
        if record.fusion.needs_distances or f"{_FEATURES}distance_maps" in names:
            shapes["distance_maps"] = (times, views, None, None, None)
        if (record.field is not None and record.field.dynamic_gate) or f"{_FEATURES}shares" in names:
            shapes["shares"] = (times, views, 1, None, None)
        shapes = {f"{_FEATURES}{name}": shape for name, shape in shapes.items()}
        dtypes = {f"{_FEATURES}{name}": torch.half for name in ("maps", "distance_maps", "shares")}
        if (depths := f"motion.{_FEATURES}depths") in names or record.fusion.needs_depths:
            shapes[depths], dtypes[depths] = (times, views, 1, None, None), torch.half
        if (warps := f"motion.{_FEATURES}warps") in names:
            shapes[warps] = (times, views, 2, None, None)
    check_shapes({name: tensors[name] for name in names}, shapes, dtypes)


def _scene_of(record: SceneRecord, tensors: dict[str, Tensor]) -> DynamicGaussians:
    """A scene with the record's shapes and the stored features, whose parameters are yet to be loaded."""
    features = None
    if record.fusion is not None and record.image is not None:
        parts: dict[str, Any] = {
            name.removeprefix(_FEATURES): tensor for name, tensor in tensors.items() if name.startswith(_FEATURES)
        }
        parts |= {name: tensors.get(f"motion.features.{name}") for name in ("depths", "warps")}
        cameras = Cameras(parts.pop("viewmats"), parts.pop("Ks"), *record.image)
        features = FrameFeatureCache(**parts, cameras=cameras)
    motion = None
    if record.field is not None:
        box, times = torch.zeros(2, 3), torch.tensor(record.timeline.times)
        root = RootRotation(times, record.timeline.middle) if record.root_rotation else None
        motion = Motion(record.field, box, len(times), fusion=record.fusion, features=features, root=root)
        if motion.tssf is not None:
            motion.tssf = motion.tssf.folded()
    count, bases = record.num_gaussians, record.sh_bases
    shapes = {"means": (3,), "quats": (4,), "log_scales": (3,), "opacity_logits": (), "sh": (bases, 3)}
    initial = RawGaussians(**{name: torch.zeros(count, *shape) for name, shape in shapes.items()})
    scene = DynamicGaussians(initial, motion, record.timeline, record.world.similarity())
    scene.gaussians.resize(count, _LIFETIMES in tensors)
    return scene
