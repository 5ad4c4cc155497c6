"""Poses of a shape: similarities that may mirror."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.geometry import quats_to_matrices


@dataclass(frozen=True)
class Poses:
    """B maps x -> scale * R(quat) M x + shift, where M flips the x axis of mirrored poses.

    Where each view has a shape of its own, each has its own scale and shift, but all have one rotation.

    Attributes:
        quats: rotations wxyz, any length above 0.
        mirrored: whether the x axis is flipped first.
        scales: scale factors above 0.
        shifts: translations.
    """

    quats: Float[Tensor, "B 4"]
    mirrored: Bool[Tensor, " B"]
    scales: Float[Tensor, "B *V"]
    shifts: Float[Tensor, "B *V 3"]

    @property
    def orientations(self) -> Float[Tensor, "B 3 3"]:
        """R M: orthogonal matrices, with determinant -1 for mirrored poses."""
        matrices = quats_to_matrices(self.quats)
        signs = torch.where(self.mirrored, -1.0, 1.0).to(matrices)
        return torch.cat((signs[:, None, None] * matrices[..., :1], matrices[..., 1:]), dim=-1)

    def apply(self, points: Float[Tensor, "*V N 3"]) -> Float[Tensor, "B *V N 3"]:
        """The points transformed by each pose."""
        turned = points @ self.orientations.mT.unflatten(0, (-1, *(1,) * (points.ndim - 2)))
        return self.scales[..., None, None] * turned + self.shifts[..., None, :]

    def select(self, rows: Int[Tensor, " b"]) -> "Poses":
        """The poses with these indices."""
        return Poses(self.quats[rows], self.mirrored[rows], self.scales[rows], self.shifts[rows])


def angles_between(
    first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angles of the rotations between orthogonal matrices, degrees; 180 where only one of the two mirrors."""
    between = first @ second.mT
    cosines = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
    return torch.where(torch.linalg.det(between) < 0, torch.full_like(angles, 180), angles)
