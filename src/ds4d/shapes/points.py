"""Gaussians from points, random points, and nearest neighbors."""

import math

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
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
    """Round Gaussians at the points, of a size proportional to the distance to their neighbors.

    Args:
        points: centers.
        colors: RGB in [0, 1].
        opacity: opacity of every Gaussian, in (0, 1).
        sh_degree: degree of the spherical harmonics, 0 to 3; coefficients above degree 0 are 0.
        scale_factor: standard deviation in units of the mean distance to the three nearest neighbors.

    Raises:
        ValueError: there are fewer than 4 points, or values that are not finite.
    """
    if points.shape[0] < 4:
        raise ValueError(f"gaussians_from_points: points must number at least 4, got {points.shape[0]}.")
    if not (points.isfinite().all() and colors.isfinite().all()):
        raise ValueError("gaussians_from_points: points and colors must be finite. Remove the NaN or Inf rows.")
    count = points.shape[0]
    neighbors = points[nearest_neighbors(points, 3)]
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


def nearest_neighbors(points: Float[Tensor, "N 3"], count: int) -> Int[Tensor, "N k"]:
    """Indices of the nearest other points, nearest first; k is `count`, at most N - 1.

    By a k-d tree on the CPU, wherever the points are: for 30,000 points that takes a tenth of all distances on a GPU.

    Args:
        points: points in any units.
        count: number of neighbors.
    """
    count = min(count, points.shape[0] - 1)
    if count <= 0:
        return torch.empty(points.shape[0], 0, dtype=torch.long, device=points.device)
    positions = points.detach().cpu().double().numpy()
    # The point itself is among the nearest, but not first where others coincide with it, and absent where many do.
    query = KDTree(positions).query(positions, count + 1, workers=torch.get_num_threads())
    found = torch.from_numpy(query[1]).long()
    others = found != torch.arange(len(points))[:, None]
    others[others.all(1), -1] = False
    return found[others].reshape(-1, count).to(points.device)


def random_ball(
    count: int, radius: float, generator: torch.Generator
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Points uniform in a ball around the origin, and gray colors.

    Args:
        count: number of points.
        radius: radius of the ball.
        generator: random generator.
    """
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    points = radius * directions * torch.rand(count, 1, generator=generator).pow(1 / 3)
    return points, torch.full_like(points, 0.5)
