"""What a generated view does to the truth: a smooth warp and a change of color, learnt with the object.

Generated views disagree with each other by some pixels and some per cent of color; an object that must please all of
them comes out blurred. Here each may differ from what is drawn by a warp and a color gain of its own, held small and
smooth in space and time, and so they agree on one sharp object. The real view differs by nothing: it holds the rest in
place.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ds4d.core import check_ranges


@dataclass(frozen=True)
class ViewCorrectionConfig:
    """How far a generated view may differ.

    Attributes:
        grid: control points of the warp along each side of the image.
        knots: moments over the clip between which warp and color change linearly.
        weight: of the penalty on the warps, which keeps them as small as the images allow.
    """

    grid: int = 5
    knots: int = 4
    weight: float = 5.0

    def __post_init__(self) -> None:
        check_ranges(self, grid="[2, inf)", knots="[1, inf)", weight="[0, inf)")


class ViewCorrection(nn.Module):
    """A warp and a color gain for every generated view and moment; the identity to begin with.

    Args:
        config: how far a view may differ.
        generated: which views are; the others stay as they are drawn.
    """

    generated: Tensor

    def __init__(self, config: ViewCorrectionConfig, generated: Bool[Tensor, " V"]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("generated", generated.float(), persistent=False)
        views, grid, knots = len(generated), config.grid, config.knots
        self.warp = nn.Parameter(torch.zeros(views, 2, grid, grid))
        self.warp_over_time = nn.Parameter(torch.zeros(knots, views, 2, grid, grid))
        self.gain = nn.Parameter(torch.zeros(views, 3))
        self.gain_over_time = nn.Parameter(torch.zeros(knots, views, 3))

    def displacements(self, times: Float[Tensor, " B"], views: Int[Tensor, " B"]) -> Float[Tensor, "B 2 g g"]:
        """Where each view's image looks at what is drawn: (x, y) shifts of the control points in half images."""
        moving = self._at(self.warp_over_time, times, views)
        shifts = self.warp.index_select(0, views) + moving
        return shifts * self.generated.index_select(0, views)[:, None, None, None]

    def at_times(self, times: Float[Tensor, " T"]) -> Float[Tensor, "T V 2 g g"]:
        """`displacements` of every view at every time."""
        views = torch.arange(self.warp.shape[0], device=times.device)
        pairs = torch.cartesian_prod(torch.arange(len(times), device=times.device), views)
        return self.displacements(times[pairs[:, 0]], pairs[:, 1]).unflatten(0, (len(times), -1))

    def gains(self, times: Float[Tensor, " B"], views: Int[Tensor, " B"]) -> Float[Tensor, "B 3"]:
        """Factors on the colors of each view's image."""
        logs = self.gain.index_select(0, views) + self._at(self.gain_over_time, times, views)
        return (logs * self.generated.index_select(0, views)[:, None]).exp()

    def forward(
        self,
        colors: Float[Tensor, "B 3 H W"],
        alphas: Float[Tensor, "B 1 H W"],
        backgrounds: Float[Tensor, "B 3"],
        times: Float[Tensor, " B"],
        views: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
        """What each view's image would show of the object as drawn.

        Args:
            colors: drawn over the backgrounds.
            alphas: drawn coverage.
            backgrounds: plain colors.
            times: of each image, in [0, 1].
            views: of each image.
        """
        behind = (1 - alphas) * backgrounds[..., None, None]
        own = (colors - behind) * self.gains(times, views)[..., None, None] + behind
        height, width = colors.shape[-2:]
        down = _hats(self.config.grid, height, colors.device)
        across = _hats(self.config.grid, width, colors.device)
        shifts = down @ self.displacements(times, views) @ across.T
        ys = (torch.arange(height, device=colors.device) + 0.5) * (2 / height) - 1
        xs = (torch.arange(width, device=colors.device) + 0.5) * (2 / width) - 1
        places = torch.stack((xs + shifts[:, 0], ys[:, None] + shifts[:, 1]), dim=-1)
        warped = F.grid_sample(torch.cat((own, alphas), dim=1), places, padding_mode="border", align_corners=False)
        return warped[:, :3], warped[:, 3:]

    def penalty(self) -> Float[Tensor, ""]:
        """Mean squared size of the warps and gains, those that change over time counted apart; times the weight."""
        parts = (self.warp, self.warp_over_time, self.gain, self.gain_over_time)
        return self.config.weight * torch.stack([part.square().mean() for part in parts]).sum()

    def _at(self, knots: Tensor, times: Tensor, views: Tensor) -> Tensor:
        """The views' rows between the two nearest knots of each time."""
        position = times.clamp(0, 1) * (knots.shape[0] - 1)
        low = position.floor().long().clamp(0, max(0, knots.shape[0] - 2))
        high = (low + 1).clamp_max(knots.shape[0] - 1)
        share = (position - low).reshape(-1, *[1] * (knots.ndim - 2))
        flat = knots.flatten(0, 1)
        count = knots.shape[1]
        first, second = flat.index_select(0, low * count + views), flat.index_select(0, high * count + views)
        return torch.lerp(first, second, share.expand_as(first))


def _hats(points: int, pixels: int, device: torch.device) -> Float[Tensor, "pixels points"]:
    """Weights of control points for pixels, linear between them, the outer ones on the outer pixels.

    Products with these do what bilinear interpolation does, whose gradient a GPU would have to collect in a few cells.
    """
    places = torch.linspace(0, points - 1, pixels, device=device)
    return (1 - (places[:, None] - torch.arange(points, device=device)).abs()).clamp_min(0)
