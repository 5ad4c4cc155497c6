"""The motion model: HexPlane features and fused frame features go together into the deformation heads.

canonical centers, times --HexPlane--> features --+--> one linear map --> heads --> change of every raw value
feature maps, centers    --TSSF------> features --+

Where the whole object turns, a `RootRotation` follows.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.deformation import DeformationField, FieldConfig, RootRotation
from ds4d.fusion import FusionConfig, Tssf
from ds4d.scene.frame_features import FrameFeatureCache, FrameObservation
from ds4d.types import Gaussians, RawGaussians

ROOT = "motion.root."  # prefix of the rotation of the whole object in the state of a scene


class Motion(nn.Module):
    """The deformation field with fused frame features as input (paper: Linear([hexplane(i), a(i)])).

    Args:
        field: shape of the deformation field.
        aabb: bounding box of the HexPlane, normalized space.
        num_times: number of frames.
        fusion: feature fusion, or None for a field that uses the HexPlane alone.
        features: frame features of the video; needed with `fusion`.
        root: rotation of the whole object, if it turns.
    """

    def __init__(
        self,
        field: FieldConfig,
        aabb: Float[Tensor, "2 3"],
        num_times: int,
        *,
        fusion: FusionConfig | None = None,
        features: FrameFeatureCache | None = None,
        root: RootRotation | None = None,
    ) -> None:
        super().__init__()
        if (fusion is None) != (features is None):
            raise ValueError("Motion: fusion and features must come together, got one of them alone.")
        self.field = DeformationField(field, aabb, num_times, point_channels=fusion.channels if fusion else 0)
        self.tssf = Tssf(fusion, features.num_channels) if fusion and features is not None else None
        self.features = features
        self.root = root

    def forward(self, raw: RawGaussians, times: Float[Tensor, " T"]) -> RawGaussians:
        """The Gaussians at any times in [0, 1], with a leading axis T; feature maps are blended between frames."""
        observation = self.features.at(times) if self.features is not None else None
        changed = self.field.apply_changes(raw, self.changes(raw.means, times, observation))
        return changed if self.root is None else self.root.gaussians(changed, times)

    def activated(
        self, raw: RawGaussians, changes: dict[str, Float[Tensor, "T N _"]], times: Float[Tensor, " T"]
    ) -> Gaussians:
        """The Gaussians at some times as they are rendered.

        Args:
            raw: canonical Gaussians.
            changes: what the heads add at these times (`changes`).
            times: times in [0, 1].
        """
        gaussians = self.field.activated(raw, changes)
        return gaussians if self.root is None else self.root.gaussians(gaussians, times)

    def changes(
        self, means: Float[Tensor, "N 3"], times: Float[Tensor, " T"], observation: FrameObservation | None
    ) -> dict[str, Float[Tensor, "T N _"]]:
        """What each deformation head adds at each time, by the name of the raw property.

        Args:
            means: canonical centers.
            times: times in [0, 1].
            observation: what the views show at these times; None where the HexPlane is alone.
        """
        planes = self.field.hexplane(means, times)
        shares = None
        if self.field.gate is not None and self.tssf is not None and self.features is not None:
            points = self._sampled_points(self.tssf, means, planes, times)
            shares = None if observation is None else self.features.share(self.tssf, points, observation)
        return self.field.changes_of(planes, self.point_features(means, planes, times, observation), shares)

    def point_features(
        self,
        means: Float[Tensor, "N 3"],
        planes: Float[Tensor, "T N F"],
        times: Float[Tensor, " T"],
        observation: FrameObservation | None,
    ) -> Float[Tensor, "T N C"] | None:
        """The fused features of every Gaussian (paper: a(i)); None where the HexPlane is alone."""
        if self.tssf is None or self.features is None:
            return None
        if observation is None:
            raise ValueError("Motion: observation must be given for a motion with features, got None.")
        return self.features.fuse(self.tssf, self._sampled_points(self.tssf, means, planes, times), observation)

    def _sampled_points(
        self, tssf: Tssf, means: Float[Tensor, "N 3"], planes: Float[Tensor, "T N F"], times: Float[Tensor, " T"]
    ) -> Float[Tensor, "T N 3"]:
        """Where the views' features are sampled."""
        points = means.expand(planes.shape[0], *means.shape)
        with torch.no_grad():
            if tssf.config.points == "deformed":
                points = points + self.field.first_shift(planes)
            return points if self.root is None else self.root.points(points, times)

    def folded(self) -> "Motion":
        """The same motion with the learned linear map applied to the feature maps, for rendering after training."""
        if self.tssf is None or self.features is None:
            return self
        other = copy(self)
        other._modules = {**self._modules, "features": self.features.folded(self.tssf), "tssf": self.tssf.folded()}
        return other


def has_root(state: Mapping[str, Any]) -> bool:
    """Whether the state of a scene holds a rotation of the whole object."""
    return any(name.startswith(ROOT) for name in state)
