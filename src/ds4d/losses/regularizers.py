"""Regularizers of the HexPlane, the motion and the view correction (STAG4D; 4DGaussians Sec. 3.4).

Planes of several scales come in one list, so their sides have no name in the shapes: `_` differs from item to item.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ds4d.core import is_fused, mean
from ds4d.losses import regularizers_cuda


def plane_smoothness(spatial_planes: Sequence[Float[Tensor, "3 C _ _"]]) -> Float[Tensor, ""]:
    """Mean squared second difference of the space planes along both axes; 0 for linear content or below 3 cells."""
    if is_fused("plane_losses", *spatial_planes):
        return regularizers_cuda.plane_mean(spatial_planes, across=True, down=True)
    return torch.stack([_curvature(plane, axis) for plane in spatial_planes for axis in (-1, -2)]).mean()


def time_smoothness(temporal_planes: Sequence[Float[Tensor, "3 C rows _"]]) -> Float[Tensor, ""]:
    """Mean squared second difference of the time planes along time; 0 for linear change or below 3 rows."""
    if is_fused("plane_losses", *temporal_planes):
        return regularizers_cuda.plane_mean(temporal_planes, down=True)
    return torch.stack([_curvature(plane, -2) for plane in temporal_planes]).mean()


def time_l1(temporal_planes: Sequence[Float[Tensor, "3 C rows _"]]) -> Float[Tensor, ""]:
    """Mean absolute difference of the time planes from 1, where time has no effect."""
    if is_fused("plane_losses", *temporal_planes):
        return regularizers_cuda.plane_mean(temporal_planes, from_one=True)
    return torch.stack([mean((1 - plane).abs()) for plane in temporal_planes]).mean()


def rigidity(
    canonical: Float[Tensor, "N 3"], moved: Float[Tensor, "T N 3"], neighbors: Int[Tensor, "N k"]
) -> Float[Tensor, ""]:
    """Mean absolute change of the distance between neighbors, in normalized space.

    It is 0 for rigid motion, small at joints and large where the surface tears.

    Args:
        canonical: centers at the canonical time.
        moved: centers at T times.
        neighbors: indices of each Gaussian's nearest neighbors in the canonical set.
    """
    if is_fused("rigidity", canonical, moved):
        return regularizers_cuda.rigidity(canonical, moved, neighbors)
    canonical_distances = _offsets(canonical[None], neighbors).norm(dim=-1)
    offsets = _offsets(moved, neighbors)
    distances = (offsets.square().sum(-1) + 1e-12).sqrt()
    return mean((distances - canonical_distances).abs())


def stillness(
    canonical: Float[Tensor, "N 3"], moved: Float[Tensor, "T N 3"], still: Float[Tensor, "T N"]
) -> Float[Tensor, ""]:
    """Mean distance of centers from where they are at the canonical time, in normalized space, where they are still.

    Args:
        canonical: centers at the canonical time.
        moved: centers at T times.
        still: weight of each center at each time, 1 where it is still, 0 where it moves.
    """
    return mean(((moved - canonical).square().sum(-1) + 1e-12).sqrt() * still)


def _offsets(points: Float[Tensor, "T N 3"], neighbors: Int[Tensor, "N k"]) -> Float[Tensor, "T N k 3"]:
    """From each point to its neighbors."""
    # The gradient of an index with repetitions adds in any order; that of `gather` in one.
    rows = neighbors.flatten()[None, :, None].expand(len(points), -1, 3)
    return points.gather(1, rows).unflatten(1, neighbors.shape) - points[:, :, None]


def mean_square(parts: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, ""]:
    """Sum over the parts of the mean square of each."""
    return torch.stack([mean(part.square()) for part in parts]).sum()


def _curvature(plane: Tensor, axis: int) -> Tensor:
    squares = plane.diff(n=2, dim=axis).square()
    return mean(squares) if squares.numel() else squares.sum()
