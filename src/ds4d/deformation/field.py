"""The deformation field: canonical Gaussians and times in, Gaussians of those times out."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_ranges, is_fused, sigmoid
from ds4d.deformation import gaussians_cuda, heads_cuda
from ds4d.deformation.hexplane import HexPlane, HexPlaneConfig
from ds4d.types import Gaussians, RawGaussians

# Products of matrices on the CPU give the same bits with any number of threads if their sides are multiples of this;
# others are split among the threads.
_ALIGNED = 16
# The gate before training: nearly open for what moves as most of the dynamic cells do, .14 for what does not at all.
_GATE_SLOPE, _GATE_MIDDLE = 12.0, 0.15


@dataclass(frozen=True)
class FieldConfig:
    """Shape of the deformation field.

    Attributes:
        hexplane: size of the HexPlane.
        width: number of channels of the trunk and the heads.
        depth: number of layers of the trunk; the first maps the HexPlane features and the point features.
        deform_opacity: let opacities change over time.
        fade_tracked: let opacities change over time where the object's motion was tracked, so that what is stretched or
            hidden far from the canonical frame can fade.
        deform_color: let colors change over time, for instance under light that does not move with the object.
        dynamic_gate: scale all changes by a learned function of the point's dynamic share (DSFD), so that what its
            features call still stays. Needs frame features.
        root_rotation: let the whole object turn about the vertical axis before it is deformed. `auto`: where the other
            views of a video are generated, unless it is fitted in windows.
    """

    hexplane: HexPlaneConfig = field(default_factory=HexPlaneConfig)
    width: int = 64
    depth: int = 1
    deform_opacity: bool = False
    fade_tracked: bool = True
    deform_color: bool = False
    dynamic_gate: bool = False
    root_rotation: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        check_ranges(self, width="[1, 4096]", depth="[1, 64]")


class DeformationField(nn.Module):
    """HexPlane features, fused with point features by one linear map, then one head per property.

    The last layer of every head is zero-initialized, so that an untrained field changes nothing, and so are the weights
    of the point features.
    """

    def __init__(
        self, config: FieldConfig, aabb: Float[Tensor, "2 3"], num_times: int, *, point_channels: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.hexplane = HexPlane(config.hexplane, aabb, num_times)
        self.point_channels = point_channels
        first = nn.Linear(self.hexplane.num_features + point_channels, config.width)
        # Randomly weighted point features would dominate those of the planes, whose products are small at first.
        nn.init.zeros_(first.weight.data[:, self.hexplane.num_features :])
        layers: list[nn.Module] = [first]
        for _ in range(config.depth - 1):
            layers += [nn.ReLU(), nn.Linear(config.width, config.width)]
        self.trunk = nn.Sequential(*layers)
        sizes = {"means": 3, "quats": 4, "log_scales": 3}
        if config.deform_opacity:
            sizes["opacity_logits"] = 1
        if config.deform_color:
            sizes["sh"] = 3
        self.heads = nn.ModuleDict({name: _head(config.width, size) for name, size in sizes.items()})
        self.gate = DynamicGate() if config.dynamic_gate and point_channels else None

    def forward(
        self,
        raw: RawGaussians,
        times: Float[Tensor, " T"],
        point_features: Float[Tensor, "T N C"] | None = None,
    ) -> RawGaussians:
        """The Gaussians at the given times: raw values plus each head's change.

        Args:
            raw: canonical Gaussians, without a time axis.
            times: in [0, 1].
            point_features: fused features of each Gaussian and time (paper: a(i)), where the field was made with some.

        Returns:
            Gaussians with a leading axis T.
        """
        return self.apply_changes(raw, self.changes(raw.means, times, point_features))

    def changes(
        self, means: Float[Tensor, "N 3"], times: Float[Tensor, " T"], point_features: Tensor | None = None
    ) -> dict[str, Float[Tensor, "T N _"]]:
        """What each head adds at each time, by the name of the raw property."""
        return self.changes_of(self.hexplane(means, times), point_features)

    def changes_of(
        self,
        planes: Float[Tensor, "T N F"],
        point_features: Float[Tensor, "T N C"] | None = None,
        shares: Float[Tensor, "T N 1"] | None = None,
    ) -> dict[str, Float[Tensor, "T N _"]]:
        """`changes` for HexPlane features that were read before; dynamic shares close the gate, where there is one."""
        changes = self._run_heads(tuple(self.heads), planes, point_features)
        if self.gate is None or shares is None:
            return changes
        openness = self.gate(shares)
        return {name: openness * change for name, change in changes.items()}

    def first_shift(self, planes: Float[Tensor, "T N F"]) -> Float[Tensor, "T N 3"]:
        """Where the HexPlane alone, with point features of 0, moves the centers: a guess of where to read features."""
        return self._run_heads(("means",), planes, None)["means"]

    def _run_heads(
        self, names: tuple[str, ...], planes: Float[Tensor, "T N F"], point_features: Float[Tensor, "T N C"] | None
    ) -> dict[str, Float[Tensor, "T N _"]]:
        """What some heads add, by name."""
        first, heads = self.trunk[0], [self.heads[name] for name in names]
        assert isinstance(first, nn.Linear)
        is_taken = heads_cuda.takes(self.trunk, heads, planes.shape[-1])
        read = [planes] if point_features is None else [planes, point_features]
        if is_taken and is_fused("heads", first.weight, *read):
            return dict(zip(names, heads_cuda.run_heads(planes, point_features, first, heads), strict=True))
        hidden = self._hidden(planes, point_features)
        return {name: head(hidden) for name, head in zip(names, heads, strict=True)}

    def _hidden(self, planes: Tensor, point_features: Tensor | None) -> Tensor:
        if point_features is None:
            point_features = planes.new_zeros(*planes.shape[:-1], self.point_channels)
        first, *others = self.trunk
        assert isinstance(first, nn.Linear)
        spare = -first.in_features % _ALIGNED
        zeros = planes.new_zeros(1).expand(*planes.shape[:-1], spare)
        features = torch.cat((planes, point_features, zeros), dim=-1)
        hidden = F.linear(features, F.pad(first.weight, (0, spare)), first.bias)
        for layer in others:
            hidden = layer(hidden)
        return hidden

    @staticmethod
    def apply_changes(raw: RawGaussians, changes: dict[str, Float[Tensor, "T N _"]]) -> RawGaussians:
        """Canonical Gaussians plus `changes`, with a leading axis T."""
        count = changes["means"].shape[0]
        opacity_logits = raw.opacity_logits.expand(count, -1)
        if "opacity_logits" in changes:
            opacity_logits = opacity_logits + changes["opacity_logits"].squeeze(-1)
        sh = raw.sh
        if "sh" in changes:
            plain = raw.sh[:, :1] + changes["sh"].unsqueeze(-2)
            sh = torch.cat((plain, raw.sh[:, 1:].expand(count, -1, -1, -1)), dim=-2)
        return RawGaussians(
            means=raw.means + changes["means"],
            quats=raw.quats + changes["quats"],
            log_scales=raw.log_scales + changes["log_scales"],
            opacity_logits=opacity_logits,
            sh=sh,
        )

    @staticmethod
    def activated(raw: RawGaussians, changes: dict[str, Float[Tensor, "T N _"]]) -> Gaussians:
        """Canonical Gaussians plus `changes` as they are rendered, with a leading axis T."""
        if is_fused("gaussians", raw.means, *changes.values()) and gaussians_cuda.takes(raw, changes):
            return gaussians_cuda.activated(raw, changes)
        return DeformationField.apply_changes(raw, changes).activate()


class DynamicGate(nn.Module):
    """A factor in (0, 1) that rises with the dynamic share; where it rises, and how steeply, is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_slope = nn.Parameter(torch.tensor(_GATE_SLOPE).log())
        self.middle = nn.Parameter(torch.tensor(_GATE_MIDDLE))

    def forward(self, shares: Float[Tensor, "T N 1"]) -> Float[Tensor, "T N 1"]:
        """The factor for dynamic shares in [0, 1]."""
        return sigmoid(self.log_slope.exp() * (shares - self.middle))


def _head(width: int, size: int) -> nn.Sequential:
    last = nn.Linear(width, size)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)
