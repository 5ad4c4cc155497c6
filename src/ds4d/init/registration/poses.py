"""Where a shape may stand: similarities that may mirror."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.geometry import quats_to_matrices


@dataclass(frozen=True)
class Poses:
    """B maps x -> scale * R(quat) M x + shift, where M turns the first axis round if the map mirrors.

    Attributes:
        quats: rotations wxyz, any length above 0.
        mirrored: whether left becomes right.
        scales: factors above 0.
        shifts: where the origin goes.
    """

    quats: Float[Tensor, "B 4"]
    mirrored: Bool[Tensor, " B"]
    scales: Float[Tensor, " B"]
    shifts: Float[Tensor, "B 3"]

    @property
    def turns(self) -> Float[Tensor, "B 3 3"]:
        """R M: orthogonal matrices, with determinant -1 where they mirror."""
        matrices = quats_to_matrices(self.quats)
        signs = torch.where(self.mirrored, -1.0, 1.0).to(matrices)
        return torch.cat((signs[:, None, None] * matrices[..., :1], matrices[..., 1:]), dim=-1)

    def apply(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "B N 3"]:
        """The points as each pose places them."""
        return self.scales[:, None, None] * (points @ self.turns.mT) + self.shifts[:, None]

    def select(self, rows: Int[Tensor, " b"]) -> "Poses":
        """Some of the poses, in the order of the rows."""
        return Poses(self.quats[rows], self.mirrored[rows], self.scales[rows], self.shifts[rows])


def angles_between(
    turns: Float[Tensor, "*#batch 3 3"], others: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Degrees from one orthogonal matrix to another; 180 where one of them mirrors and the other does not."""
    between = turns @ others.mT
    cosines = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
    return torch.where(torch.linalg.det(between) < 0, torch.full_like(angles, 180), angles)
