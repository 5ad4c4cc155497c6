"""View correction: a smooth warp and color gains per generated view, learned with the scene.

Generated views disagree with each other by some pixels and some percent of color, and a scene that fits all of them
becomes blurred. Here each generated view may differ from the rendering by a warp and color gains of its own, which are
penalized and smooth in space and time, so that the views agree on one sharp object. The input view is not corrected: it
anchors the others.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.losses.view_correction_cpu import corrected, supports


@dataclass(frozen=True)
class ViewCorrectionConfig:
    """Resolution of the warps and gains; their penalties are `view_warps` and `view_gains` of the losses.

    Attributes:
        grid: control points of the warp along each side of the image.
        knots: times between which warps and gains are interpolated linearly.
    """

    grid: int = 5
    knots: int = 4

    def __post_init__(self) -> None:
        check_ranges(self, grid="[2, inf)", knots="[1, inf)")


class ViewCorrection(nn.Module):
    """A warp and color gains of every generated view over time; initialized to the identity.

    Args:
        config: resolution of the warps and gains.
        generated: views to be corrected; the others stay as they are rendered.
    """

    is_generated: Tensor
    generated: Tensor

    def __init__(self, config: ViewCorrectionConfig, generated: Bool[Tensor, " V"]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("is_generated", generated.float(), persistent=False)
        self.register_buffer("generated", generated.nonzero().squeeze(1), persistent=False)
        views, grid, knots = len(generated), config.grid, config.knots
        self.warp = nn.Parameter(torch.zeros(views, 2, grid, grid))
        self.warp_over_time = nn.Parameter(torch.zeros(knots, views, 2, grid, grid))
        self.gain = nn.Parameter(torch.zeros(views, 3))
        self.gain_over_time = nn.Parameter(torch.zeros(knots, views, 3))

    def warps(self, times: Float[Tensor, " B"], views: Int[Tensor, " B"]) -> Float[Tensor, "B 2 g g"]:
        """(x, y) displacements of the control points, half image sizes: the image at x shows the rendering at x + d."""
        warps = self.warp.index_select(0, views) + self._interpolated(self.warp_over_time, times, views)
        return warps * self.is_generated.index_select(0, views)[:, None, None, None]

    def at_times(self, times: Float[Tensor, " T"]) -> Float[Tensor, "T V 2 g g"]:
        """`warps` of every view at every time."""
        views = torch.arange(self.warp.shape[0], device=times.device)
        pairs = torch.cartesian_prod(torch.arange(len(times), device=times.device), views)
        return self.warps(times[pairs[:, 0]], pairs[:, 1]).unflatten(0, (len(times), -1))

    def gains(self, times: Float[Tensor, " B"], views: Int[Tensor, " B"]) -> Float[Tensor, "B 3"]:
        """Factors on the colors of each image."""
        logs = self.gain.index_select(0, views) + self._interpolated(self.gain_over_time, times, views)
        return (logs * self.is_generated.index_select(0, views)[:, None]).exp()

    def of_generated_views(self) -> tuple[list[Tensor], list[Tensor]]:
        """The warps and log gains of the generated views, each as its constant part and its part over time."""
        warps = [self.warp.index_select(0, self.generated), self.warp_over_time.index_select(1, self.generated)]
        gains = [self.gain.index_select(0, self.generated), self.gain_over_time.index_select(1, self.generated)]
        return warps, gains

    def forward(
        self,
        colors: Float[Tensor, "B 3 H W"],
        alphas: Float[Tensor, "B 1 H W"],
        backgrounds: Float[Tensor, "B 3"],
        times: Float[Tensor, " B"],
        views: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
        """The rendered colors and opacity as each view would show them.

        Args:
            colors: rendered colors over the backgrounds.
            alphas: rendered opacity.
            backgrounds: plain background colors; gains leave them unchanged.
            times: time of each image in [0, 1].
            views: view index of each image.
        """
        height, width = colors.shape[-2:]
        rows = _interpolation_weights(self.config.grid, height, colors)
        columns = _interpolation_weights(self.config.grid, width, colors)
        gains, warps = self.gains(times, views), self.warps(times, views)
        if supports(colors, alphas):
            is_generated = self.is_generated.index_select(0, views)
            images = torch.cat((colors, alphas), dim=1)
            images = corrected(images, is_generated, backgrounds, gains, warps, rows, columns)
            return images[:, :3], images[:, 3:]
        behind = (1 - alphas) * backgrounds[..., None, None]
        brightened = (colors - behind) * gains[..., None, None] + behind
        warps = rows @ warps @ columns.T
        ys = (torch.arange(height, device=colors.device) + 0.5) * (2 / height) - 1
        xs = (torch.arange(width, device=colors.device) + 0.5) * (2 / width) - 1
        positions = torch.stack((xs + warps[:, 0], ys[:, None] + warps[:, 1]), dim=-1)
        images = torch.cat((brightened, alphas), dim=1)
        warped = F.grid_sample(images, positions, padding_mode="border", align_corners=False)
        return warped[:, :3], warped[:, 3:]

    def _interpolated(self, knots: Tensor, times: Tensor, views: Tensor) -> Tensor:
        """The rows of the views, interpolated between the two nearest knots of each time."""
        position = times.clamp(0, 1) * (knots.shape[0] - 1)
        low = position.floor().long().clamp(0, max(0, knots.shape[0] - 2))
        high = (low + 1).clamp_max(knots.shape[0] - 1)
        weight = (position - low).reshape(-1, *[1] * (knots.ndim - 2))
        flat = knots.flatten(0, 1)
        count = knots.shape[1]
        first, second = flat.index_select(0, low * count + views), flat.index_select(0, high * count + views)
        return torch.lerp(first, second, weight.expand_as(first))


def _interpolation_weights(points: int, pixels: int, like: Tensor) -> Float[Tensor, "pixels points"]:
    """Linear interpolation weights of control points for pixels; the outer points lie on the outer pixels.

    Products with these equal bilinear interpolation, whose gradient a GPU would have to accumulate in a few cells.
    """
    positions = torch.linspace(0, points - 1, pixels, dtype=like.dtype, device=like.device)
    return (1 - (positions[:, None] - torch.arange(points, device=like.device)).abs()).clamp_min(0)
