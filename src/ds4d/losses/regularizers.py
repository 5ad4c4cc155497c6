"""What keeps the HexPlane and the motion smooth (STAG4D's regularizers, 4DGaussians Sec. 3.4).

Planes of several scales come in one list, so their sides have no name in the shapes: `_` is free from item to item.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def plane_smoothness(spatial_planes: Sequence[Float[Tensor, "3 C _ _"]]) -> Float[Tensor, ""]:
    """Mean squared second difference along both axes of the space planes; 0 for linear content, and below 3 cells."""
    return torch.stack([_bending(plane, axis) for plane in spatial_planes for axis in (-1, -2)]).mean()


def time_smoothness(temporal_planes: Sequence[Float[Tensor, "3 C rows _"]]) -> Float[Tensor, ""]:
    """Mean squared second difference of the time planes along time; 0 for steady change, and with fewer than 3 rows."""
    return torch.stack([_bending(plane, -2) for plane in temporal_planes]).mean()


def time_l1(temporal_planes: Sequence[Float[Tensor, "3 C rows _"]]) -> Float[Tensor, ""]:
    """Mean absolute difference of the time planes from 1, at which time changes nothing."""
    return torch.stack([(1 - plane).abs().mean() for plane in temporal_planes]).mean()


def rigidity(
    canonical: Float[Tensor, "N 3"], moved: Float[Tensor, "T N 3"], neighbors: Int[Tensor, "N k"]
) -> Float[Tensor, ""]:
    """Mean absolute change of the distance between neighbors, in inner units.

    Neighbors that keep their distance move as one rigid piece; a joint costs little, a torn surface much.

    Args:
        canonical: centers at the canonical time.
        moved: centers at T times.
        neighbors: rows of each Gaussian's neighbors in the canonical set.
    """
    rest = (canonical[neighbors] - canonical[:, None]).norm(dim=-1)
    gaps = moved[:, neighbors] - moved[:, :, None]
    now = (gaps.square().sum(-1) + 1e-12).sqrt()
    return (now - rest).abs().mean()


def _bending(plane: Tensor, axis: int) -> Tensor:
    squares = plane.diff(n=2, dim=axis).square()
    return squares.mean() if squares.numel() else squares.sum()
