"""TSSF, temporal-spatial similarity fusion: the decoupled features of all views brought onto the Gaussians.

    maps [T, V, D, h, w] -> learned linear map D -> C -> read at the projected centers -> fused over views [T, N, C]

The linear map is applied to the maps, which have far fewer cells than there are reads; reading is linear too, so the
order makes no difference to the result.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.fusion.point_sampling import PointReads, project_places, visibility_at, warp_places
from ds4d.fusion.rules import Average, DistanceAwareness, Front, FusionRule, GlobalAwareness, Visible
from ds4d.types import Cameras

RULES: dict[str, Callable[[int], FusionRule]] = {
    "front": Front,
    "average": Average,
    "global": GlobalAwareness,
    "distance": DistanceAwareness,
    "visible": Visible,
}


@dataclass(frozen=True)
class FusionConfig:
    """How the views' features are brought onto the Gaussians.

    Attributes:
        rule: `front` reads the real view alone, `average`, `global` (GA) and `distance` (DA) are the paper's, `visible`
            is ours.
        channels: of the fused features.
        points: which centers are projected into the views: the `canonical` ones, or those `deformed` by a first pass
            through the HexPlane alone.
        distance_channels: principal components that `distance` compares views by.
        depth_size: height in pixels of the depth images that `visible` tests against.
        depth_every: steps after which these are drawn again; density control draws them again too.
        tolerance: how far behind the drawn surface a point still counts as seen, inner units (the object has
            radius 0.5).
    """

    rule: Literal["front", "average", "global", "distance", "visible"] = "visible"
    channels: int = 16
    points: Literal["canonical", "deformed"] = "deformed"
    distance_channels: int = 16
    depth_size: int = 128
    depth_every: int = 100
    tolerance: float = 0.03

    def __post_init__(self) -> None:
        check_ranges(self, channels="[1, inf)", distance_channels="[1, inf)", depth_size="[8, inf)")
        check_ranges(self, depth_every="[1, inf)", tolerance="(0, inf)")


class Tssf(nn.Module):
    """Reads and fuses the features of all views at the Gaussians' centers (paper: a(i)).

    Args:
        config: the rule and its sizes.
        in_channels: D, of the maps.
    """

    def __init__(self, config: FusionConfig, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.reduce: nn.Linear | None = nn.Linear(in_channels, config.channels, bias=False)
        self.rule = RULES[config.rule](config.channels)

    @property
    def needs_distances(self) -> bool:
        """Whether the rule compares views, by maps of their own."""
        return self.config.rule == "distance"

    @property
    def needs_depths(self) -> bool:
        """Whether the rule asks what hides a point."""
        return self.config.rule == "visible"

    def reduced(self, maps: Float[Tensor, "*T V D h w"]) -> Float[Tensor, "*T V C h w"]:
        """The maps through the learned linear map; as they are once it is `folded`."""
        if self.reduce is None:
            return maps.float()
        flat = maps.flatten(0, -4).to(self.reduce.weight.dtype)
        if flat.device.type == "cpu":  # a product by cells is faster there, and leaves a cell's channels side by side
            weight = self.reduce.weight.T.expand(len(flat), -1, -1)
            return torch.bmm(flat.flatten(-2).mT, weight).mT.reshape(*maps.shape[:-3], -1, *maps.shape[-2:])
        return F.conv2d(flat, self.reduce.weight[..., None, None]).unflatten(0, maps.shape[:-3])

    def folded(self) -> "Tssf":
        """The same fusion for maps that went through the learned map before; shares the rule."""
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
        """Fused features of every point.

        Args:
            maps: decoupled features of every time and view.
            points: the Gaussians' centers of every time, in the cameras' world; gradients do not pass through them.
            cameras: of the views [V], or of each time [*T, V].
            valid: 1 for views that have an image, 0 for others; all have one if None.
            distance_maps: what the rule `distance` compares views by (`principal_map` of the features).
            depths: what the rule `visible` tests against (`visibility`).
            warps: how each view's image is warped (`sample_at_points`).

        Raises:
            ValueError: sizes do not belong together, or what the rule needs is missing.
        """
        self._check(maps, points, cameras, distance_maps, depths)
        points = points.detach()
        if self.config.rule == "front":  # the other views need not be read
            cameras = cameras[..., :1]
            maps, valid = maps[..., :1, :, :, :], None if valid is None else valid[..., :1]
            warps = None if warps is None else warps[..., :1, :, :, :]
        reduced = self.reduced(maps)
        place, in_view, own = project_places(points, cameras)
        if depths is not None and self.needs_depths:  # drawn from what is fitted, so places are not warped yet
            seen = visibility_at(depths.to(reduced.dtype), place, in_view, own, tolerance=self.config.tolerance)
        else:
            seen = in_view.to(reduced.dtype)
        if valid is not None:
            seen = seen * valid[..., None]
        place, compared = warp_places(place, warps), None
        if distance_maps is not None and self.needs_distances:
            compared = PointReads(distance_maps.to(reduced.dtype), place)
        return self.rule(PointReads(reduced, place), seen, compared)

    def _check(
        self, maps: Tensor, points: Tensor, cameras: Cameras, distance_maps: Tensor | None, depths: Tensor | None
    ) -> None:
        times, views = tuple(maps.shape[:-4]), maps.shape[-4]
        if maps.shape[-3] != self.in_channels:
            raise ValueError(
                f"Tssf: maps must have {self.in_channels} channels, got {maps.shape[-3]}. Make it for these features."
            )
        if views != cameras.num_views:
            raise ValueError(f"Tssf: cameras must have the {views} views of maps, got {cameras.num_views}.")
        if tuple(points.shape[:-2]) != times:
            raise ValueError(
                f"Tssf: points must have the leading axes {list(times)} of maps, got {list(points.shape[:-2])}. "
                "Expand points that stand still."
            )
        for name, given, needed in (
            ("distance_maps", distance_maps, self.needs_distances),
            ("depths", depths, self.needs_depths),
        ):
            if needed and given is None:
                raise ValueError(f"Tssf: {name} must be given for the rule {self.config.rule!r}, got None.")
            if given is not None and tuple(given.shape[:-3]) != (*times, views):
                raise ValueError(
                    f"Tssf: {name} must have the leading axes {[*times, views]} of maps, got {list(given.shape[:-3])}."
                )
