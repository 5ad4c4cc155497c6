"""All training models on one device, and random choices among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.lift_training.posed_models import PosedModel

PROCEDURAL = "procedural"  # group of the models that are no files


@dataclass(frozen=True)
class Choice:
    """One posed model per image.

    Attributes:
        models: index of the model.
        first_vertex: index in the pool of the first vertex of its pose.
        first_rest_vertex: the same for its first pose.
    """

    models: Int[Tensor, " B"]
    first_vertex: Int[Tensor, " B"]
    first_rest_vertex: Int[Tensor, " B"]


@dataclass(frozen=True)
class Samples:
    """Surface samples of posed models.

    Attributes:
        positions: their positions; the clip of the model fits into a ball of radius 1 around the origin.
        normals: their unit normals.
    """

    positions: Float[Tensor, "B S 3"]
    normals: Float[Tensor, "B S 3"]


class ModelPool:
    """Vertices, normals and surface samples of many models.

    Args:
        models: models with equal numbers of samples.
        groups: label of each model, such as its rig. A group is as likely as the square root of its size, so that large
            ones do not rule.
        device: device of the pool.
        shares: chance of each kind of model, if there are models of all kinds: `animated`, `static` (one pose) and
            `procedural` (the group of that name).
    """

    def __init__(
        self,
        models: Sequence[PosedModel],
        groups: Sequence[str],
        device: torch.device,
        *,
        shares: Mapping[str, float] = MappingProxyType({"animated": 1.0, "static": 1.0, "procedural": 1.0}),
    ) -> None:
        self.names = [model.name for model in models]
        counts = np.array([model.vertices.shape[1] for model in models])
        poses = np.array([model.vertices.shape[0] for model in models])
        starts = np.concatenate(([0], np.cumsum(counts * poses)[:-1]))
        self.counts, self.poses, self.starts = (torch.from_numpy(x).to(device) for x in (counts, poses, starts))
        self.vertices = torch.from_numpy(np.concatenate([m.vertices.reshape(-1, 3) for m in models])).to(device)
        self.normals = torch.cat([_vertex_normals(m, device) for m in models])
        self.corners = torch.from_numpy(np.stack([m.faces[m.sample_faces] for m in models])).to(device)
        self.barycentric = torch.from_numpy(np.stack([m.sample_barycentric for m in models])).to(device)
        self.colors = torch.from_numpy(np.stack([m.sample_colors for m in models])).to(device)
        self.chances = torch.from_numpy(_chances(groups, poses, shares)).float().to(device)

    def __len__(self) -> int:
        return len(self.names)

    def choose(self, count: int, generator: torch.Generator) -> Choice:
        """Random models in random poses."""
        models = torch.multinomial(self.chances, count, replacement=True, generator=generator)
        chances = torch.rand(count, device=models.device, generator=generator)
        return self.choice(models, (chances * self.poses[models]).long())

    def choice(self, models: Int[Tensor, " B"], poses: Int[Tensor, " B"]) -> Choice:
        """These models in these poses."""
        first = self.starts[models]
        return Choice(models, first + poses * self.counts[models], first)

    def samples(self, choice: Choice) -> Samples:
        """Positions and normals of all samples."""
        rows = choice.first_vertex[:, None, None] + self.corners[choice.models]
        barycentric = self.barycentric[choice.models].float()
        positions, normals = (_mix(x[rows].float(), barycentric) for x in (self.vertices, self.normals))
        return Samples(positions, F.normalize(normals, dim=-1))

    def paint(
        self, choice: Choice, samples: Int[Tensor, "B N"]
    ) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N 3"]]:
        """SRGB albedo, and position in the first pose, of some samples."""
        models = choice.models[:, None]
        rows = choice.first_rest_vertex[:, None, None] + self.corners[models, samples]
        rest = _mix(self.vertices[rows].float(), self.barycentric[models, samples].float())
        return self.colors[models, samples].float() / 255, rest


def _chances(
    groups: Sequence[str], poses: Int[np.ndarray, " M"], shares: Mapping[str, float]
) -> Float[np.ndarray, " M"]:
    names, labels, sizes = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    kinds = np.where(names[labels] == PROCEDURAL, PROCEDURAL, np.where(poses == 1, "static", "animated"))
    chances = sizes[labels] ** -0.5
    for kind, share in shares.items():
        chances[kinds == kind] *= share / max(chances[kinds == kind].sum(), 1e-9)
    return chances


def _mix(corners: Float[Tensor, "B N 3 C"], barycentric: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    u, v = barycentric[..., :1], barycentric[..., 1:]
    return u * corners[..., 0, :] + v * corners[..., 1, :] + (1 - u - v) * corners[..., 2, :]


def _vertex_normals(model: PosedModel, device: torch.device) -> Float[Tensor, "PV 3"]:
    """Area-weighted normals of the vertices in all poses; vertices that a file splits keep the crease between them."""
    vertices = torch.from_numpy(model.vertices).to(device).float()
    faces = torch.from_numpy(model.faces).to(device).long()
    a, b, c = (vertices[:, faces[:, i]] for i in range(3))
    areas = (b - a).cross(c - a, dim=-1)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(1, faces[:, corner], areas)
    return F.normalize(normals, dim=-1).flatten(0, 1).half()
