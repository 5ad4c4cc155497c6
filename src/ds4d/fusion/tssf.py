"""TSSF, temporal-spatial similarity fusion: decoupled features of all views become one vector per Gaussian."""

from copy import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_choices, check_ranges, is_fused
from ds4d.fusion.point_sampling import PointSamples, locate
from ds4d.fusion.rules import RULES, RuleName, Visible
from ds4d.fusion.visible_cuda import fuse_visible, reduce_maps
from ds4d.types import Cameras


@dataclass(frozen=True)
class FusionConfig:
    """Fusion of the views' features at the Gaussians (TSSF).

    Attributes:
        rule: fusion rule. `input` samples the input view only; `average`, `global` (GA) and `distance` (DA) are the
            paper's; `visible` weights the views by a depth test.
        channels: number of channels of the fused features.
        points: centers that are projected into the views: the `canonical` ones, or those `deformed` by a first pass
            through the HexPlane alone.
        distance_channels: number of principal components in which the rule `distance` compares views.
        depth_size: height in pixels of the depth images that the rule `visible` tests against.
        depth_every: number of steps after which these depth images are outdated, and rendered before they are read;
            a step of training that renders a view replaces its depth image, too.
        tolerance: distance behind the rendered surface at which visibility is 0.5, normalized units (the object has
            radius 0.5).
        hidden_only: give features to the points that the input view does not see, by the depth test; those that it
            sees have its pixels to learn from. Needs a rule that samples other views.
    """

    rule: RuleName = "visible"
    channels: int = 16
    points: Literal["canonical", "deformed"] = "deformed"
    distance_channels: int = 16
    depth_size: int = 128
    depth_every: int = 100
    tolerance: float = 0.03
    hidden_only: bool = False

    def __post_init__(self) -> None:
        check_choices(self, rule=RULES)
        check_ranges(self, channels="[1, 4096]", distance_channels="[1, 4096]", depth_size="[8, 4096]")
        check_ranges(self, depth_every="[1, inf)", tolerance="(0, inf)")
        if self.hidden_only and RULES[self.rule].input_view_only:
            raise ValueError(
                f"hidden_only must go with a rule that samples other views than the input view, got {self.rule!r}. "
                "Choose another rule."
            )

    @property
    def needs_depths(self) -> bool:
        """Whether visibility is tested against rendered depths."""
        return RULES[self.rule].needs_depths or self.hidden_only

    @property
    def needs_distances(self) -> bool:
        """Whether the rule compares views, by maps of their own."""
        return RULES[self.rule].needs_distances


class Tssf(nn.Module):
    """Samples and fuses the features of all views at the Gaussians' centers (paper: a(i)).

    Args:
        config: fusion rule and sizes.
        in_channels: D, number of channels of the decoupled features.
    """

    def __init__(self, config: FusionConfig, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.reduce: nn.Linear | None = nn.Linear(in_channels, config.channels, bias=False)
        self.rule = RULES[config.rule](config.channels)

    def reduced(self, maps: Float[Tensor, "*T V D h w"]) -> Float[Tensor, "*T V C h w"]:
        """Applies the learned linear map D -> C to every cell; a `folded` module returns the maps unchanged."""
        if self.reduce is None:
            return maps.float()
        weight, shape = self.reduce.weight, (*maps.shape[:-3], -1, *maps.shape[-2:])
        if maps.dtype == torch.half and not maps.requires_grad and maps.is_cuda and is_fused("fusion", weight):
            return reduce_maps(maps.flatten(0, -4).flatten(-2), weight).mT.reshape(shape)
        flat = maps.flatten(0, -4).to(weight.dtype)
        # A product by cells is faster on the CPU, and leaves a cell's channels side by side.
        if flat.device.type == "cpu" or is_fused("fusion", weight):
            return torch.bmm(flat.flatten(-2).mT, weight.T.expand(len(flat), -1, -1)).mT.reshape(shape)
        return F.conv2d(flat, weight[..., None, None]).unflatten(0, maps.shape[:-3])

    def folded(self) -> "Tssf":
        """The same fusion for maps to which the learned linear map has been applied; shares the rule."""
        other = copy(self)
        other._modules = {**self._modules, "reduce": None}
        other.in_channels = self.config.channels
        return other

    def forward(
        self,
        maps: Float[Tensor, "*T V D h w"],
        points: Float[Tensor, "... N 3"],
        cameras: Cameras,
        *,
        valid: Float[Tensor, "... V"] | None = None,
        distance_maps: Float[Tensor, "... _ _ h w"] | None = None,
        depths: Float[Tensor, "... _ 1 _ _"] | None = None,
        warps: Float[Tensor, "... _ 2 _ _"] | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """Fuses the features of all views at every point.

        maps [T, V, D, h, w] --linear D -> C--> [T, V, C, h, w] --sample at projected points--> p(i,j) --+
        points [T, N, 3] --project--> image coordinates --depth test--> visibility [T, V, N] ------------+--rule--> a(i)

        The linear map is applied to the maps, which have far fewer cells than there are samples; sampling is linear,
        so the order does not change the result.

        Args:
            maps: decoupled features of every time and view.
            points: centers of the Gaussians at every time, in the cameras' world; no gradient reaches them.
            cameras: cameras of the views [V], or of each time [*T, V].
            valid: 1 for views that have an image, 0 for others; None if all have one.
            distance_maps: maps in which the rule `distance` compares views (`pca_projection` of the features).
            depths: rendered depths for the rule `visible` (`visibility`).
            warps: warps of the views' images (`sample_at_points`).

        Raises:
            ValueError: sizes do not match, or a tensor that the rule needs is missing.
        """
        self._check(maps, points, cameras, distance_maps, depths)
        points = points.detach()
        if self.rule.input_view_only:
            cameras, maps = cameras[..., :1], maps[..., :1, :, :, :]
            valid = None if valid is None else valid[..., :1]
            warps = None if warps is None else warps[..., :1, :, :, :]
        reduced = self.reduced(maps)
        if isinstance(self.rule, Visible) and not self.config.hidden_only and is_fused("fusion", reduced, points):
            assert depths is not None  # checked
            return self._fused(self.rule, reduced, points, cameras, valid, depths, warps)
        tested = depths if self.rule.needs_depths else None
        positions, visible = locate(points, cameras, depths=tested, warps=warps, tolerance=self.config.tolerance)
        visible = visible.to(reduced.dtype)
        if valid is not None:
            visible = visible * valid[..., None]
        is_hidden = 1 - self._seen_by_input(points, cameras, depths, valid) if self.config.hidden_only else None
        compared = None
        if distance_maps is not None and self.rule.needs_distances:
            compared = PointSamples(distance_maps.to(reduced.dtype), positions)
        fused = self.rule(PointSamples(reduced, positions), visible, compared)
        return fused if is_hidden is None else fused * is_hidden[..., None].to(fused.dtype)

    def _fused(
        self,
        rule: Visible,
        reduced: Float[Tensor, "*T V C h w"],
        points: Float[Tensor, "*T N 3"],
        cameras: Cameras,
        valid: Float[Tensor, "*T V"] | None,
        depths: Float[Tensor, "*T V 1 _ _"],
        warps: Float[Tensor, "*T V 2 _ _"] | None,
    ) -> Float[Tensor, "*T N C"]:
        """The rule `visible` in one kernel, which needs a time axis."""
        if reduced.ndim == 4:
            valid, warps = (None if tensor is None else tensor[None] for tensor in (valid, warps))
            return self._fused(rule, reduced[None], points[None], cameras, valid, depths[None], warps)[0]
        weight, bonus, tolerance = rule.score.weight[0], rule.input_bonus, self.config.tolerance
        return fuse_visible(
            reduced, points, cameras, weight, bonus, valid=valid, depths=depths, warps=warps, tolerance=tolerance
        )

    def _seen_by_input(
        self, points: Float[Tensor, "*T N 3"], cameras: Cameras, depths: Tensor | None, valid: Tensor | None
    ) -> Float[Tensor, "*T N"]:
        """Visibility of the points in the input view, by the depth test."""
        assert depths is not None  # checked
        first = depths[..., :1, :, :, :]
        _, seen = locate(points, cameras[..., :1], depths=first, warps=None, tolerance=self.config.tolerance)
        return seen[..., 0, :] if valid is None else seen[..., 0, :] * valid[..., :1]

    def _check(
        self, maps: Tensor, points: Tensor, cameras: Cameras, distance_maps: Tensor | None, depths: Tensor | None
    ) -> None:
        times, views = tuple(maps.shape[:-4]), maps.shape[-4]
        if maps.shape[-3] != self.in_channels:
            raise ValueError(f"Tssf: maps must have in_channels = {self.in_channels} channels, got {maps.shape[-3]}.")
        if views != cameras.num_views:
            raise ValueError(f"Tssf: cameras must have the {views} views of maps, got {cameras.num_views}.")
        if tuple(points.shape[:-2]) != times:
            raise ValueError(
                f"Tssf: points must have the leading axes {list(times)} of maps, got {list(points.shape[:-2])}. "
                "Expand points that are the same at all times."
            )
        for name, given, needed in (
            ("distance_maps", distance_maps, self.rule.needs_distances),
            ("depths", depths, self.config.needs_depths),
        ):
            if needed and given is None:
                raise ValueError(f"Tssf: {name} must be given for the rule {self.config.rule!r}, got None.")
            if given is not None and tuple(given.shape[:-3]) != (*times, views):
                raise ValueError(
                    f"Tssf: {name} must have the leading axes {[*times, views]} of maps, got {list(given.shape[:-3])}."
                )
