"""The first Gaussians: from points, wherever the points come from."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.geometry import rgb_to_sh
from ds4d.types import RawGaussians


def gaussians_from_points(
    points: Float[Tensor, "N 3"],
    colors: Float[Tensor, "N 3"],
    *,
    opacity: float,
    sh_degree: int,
    scale_factor: float,
) -> RawGaussians:
    """Round Gaussians at the points, each about as large as the gap to its neighbors.

    Args:
        points: inner world units.
        colors: in [0, 1].
        opacity: of every Gaussian, in (0, 1).
        sh_degree: 0 to 3; the bases above degree 0 start at 0.
        scale_factor: standard deviation in units of the mean distance to the three nearest neighbors.

    Raises:
        ValueError: fewer than 4 points, or values that are not finite.
    """
    if points.shape[0] < 4:
        raise ValueError(f"gaussians_from_points: points must number at least 4, got {points.shape[0]}.")
    if not (points.isfinite().all() and colors.isfinite().all()):
        raise ValueError("gaussians_from_points: points and colors must be finite. Remove the NaN or Inf rows.")
    count = points.shape[0]
    neighbors = points[nearest_rows(points, 3)]
    spacing = (neighbors - points[:, None]).norm(dim=-1).mean(-1).clamp_min(1e-5)
    quats = points.new_zeros(count, 4)
    quats[:, 0] = 1
    sh = points.new_zeros(count, (sh_degree + 1) ** 2, 3)
    sh[:, 0] = rgb_to_sh(colors)
    return RawGaussians(
        means=points,
        quats=quats,
        log_scales=(scale_factor * spacing).log()[:, None].repeat(1, 3),
        opacity_logits=points.new_full((count,), math.log(opacity / (1 - opacity))),
        sh=sh,
    )


def nearest_rows(points: Float[Tensor, "N 3"], count: int, chunk: int = 2048) -> Int[Tensor, "N k"]:
    """Rows of the nearest other points, nearest first; brute force in chunks. k is at most N - 1."""
    count = min(count, points.shape[0] - 1)
    if count <= 0:
        return torch.empty(points.shape[0], 0, dtype=torch.long, device=points.device)
    rows = []
    for first in range(0, points.shape[0], chunk):
        part = points[first : first + chunk]
        # The faster matrix-product form of cdist loses the distances of points that nearly coincide.
        distances = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        own = torch.arange(len(part), device=points.device)
        distances[own, first + own] = torch.inf
        rows.append(distances.topk(count, largest=False).indices)
    return torch.cat(rows)


def random_ball(
    count: int, radius: float, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Points uniform in a ball round the origin, and gray colors: the baseline that knows nothing of the object."""
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    points = radius * directions * torch.rand(count, 1, generator=generator).pow(1 / 3)
    return points, torch.full_like(points, 0.5)
