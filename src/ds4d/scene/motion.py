"""What moves the Gaussians: HexPlane features and fused frame features, together into the deformation heads.

canonical centers, times --HexPlane--> features --+--> one linear map --> heads --> change of every raw value
feature maps, centers    --TSSF------> features --+
"""

from copy import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.deformation import DeformationField, FieldConfig
from ds4d.fusion import FusionConfig, Tssf
from ds4d.scene.frame_features import FrameFeatureCache
from ds4d.types import RawGaussians


class Motion(nn.Module):
    """The deformation field with the fused features that it is given (paper: Linear([hexplane(i), a(i)])).

    Args:
        field: shape of the field.
        aabb: box of the HexPlane, inner units.
        num_times: frames of the clip.
        fusion: how features are fused, or None for a field that moves by the HexPlane alone.
        views: the clip's features; needed with `fusion`.
    """

    def __init__(
        self,
        field: FieldConfig,
        aabb: Float[Tensor, "2 3"],
        num_times: int,
        *,
        fusion: FusionConfig | None = None,
        views: FrameFeatureCache | None = None,
    ) -> None:
        super().__init__()
        if (fusion is None) != (views is None):
            raise ValueError("Motion: fusion and views must come together, got one of them alone.")
        self.field = DeformationField(field, aabb, num_times, point_channels=fusion.channels if fusion else 0)
        self.tssf = Tssf(fusion, views.maps.shape[2]) if fusion and views is not None else None
        self.views = views

    def forward(self, raw: RawGaussians, times: Float[Tensor, " T"]) -> RawGaussians:
        """The Gaussians at any times in [0, 1], with a leading axis T; between frames the nearest maps are blended."""
        seen = self.views.at(times) if self.views is not None else ()
        return self.field.apply_changes(raw, self.changes(raw.means, times, *seen))

    def changes(
        self, means: Float[Tensor, "N 3"], times: Float[Tensor, " T"], *seen: Tensor
    ) -> dict[str, Float[Tensor, "T N _"]]:
        """What each head adds at each time, by the name of the raw property.

        Args:
            means: canonical centers.
            times: in [0, 1].
            seen: the clip's features at these times, as `FrameFeatureCache.at` or `at_frames` gives them.
        """
        planes = self.field.hexplane(means, times)
        return self.field.changes_of(planes, self.point_features(means, planes, *seen))

    def point_features(
        self, means: Float[Tensor, "N 3"], planes: Float[Tensor, "T N F"], *seen: Tensor
    ) -> Float[Tensor, "T N C"] | None:
        """The fused features of every Gaussian (paper: a(i)); None where the HexPlane is alone."""
        if self.tssf is None or self.views is None:
            return None
        points = means.expand(planes.shape[0], *means.shape)
        if self.tssf.config.points == "deformed":
            with torch.no_grad():
                points = means + self.field.first_shift(planes)
        return self.views.fuse(self.tssf, points, *seen)

    def folded(self) -> "Motion":
        """The same motion with the learned map of the features applied once and for all; for after the fit."""
        if self.tssf is None or self.views is None:
            return self
        other = copy(self)
        other._modules = {**self._modules, "views": self.views.folded(self.tssf), "tssf": self.tssf.folded()}
        return other
