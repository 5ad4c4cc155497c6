"""Joints of bones: which bone hangs on which, and where they meet."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from torch import Tensor

from ds4d.export.mesh.bones import Bones

_STIFFNESS = 0.3  # radians: bones that bend less against each other meet in the middle of what they share


@dataclass(frozen=True)
class Joints:
    """The joints of B bones.

    Attributes:
        parents: the bone that each bone hangs on; -1 where it hangs on none.
        positions: the point at rest about which each bone turns.
    """

    parents: Int[Tensor, " B"]
    positions: Float[Tensor, "B 3"]


def place_joints(bones: Bones, rest: Float[Tensor, "P 3"]) -> Joints:
    """Connects the bones that share most vertices; each turns about the point where it and its parent agree best.

    The heaviest bone of connected ones hangs on none; it turns about the center of its vertices.

    Args:
        bones: the bones.
        rest: vertices of the rest shape.
    """
    count = bones.rotations.shape[1]
    weights = bones.weights.new_zeros(len(rest), count).scatter_add_(1, bones.influences, bones.weights)
    parents = _parents(weights)
    positions = (weights.T @ rest) / weights.sum(0)[:, None].clamp_min(1e-9)
    for bone, parent in enumerate(parents.tolist()):
        if parent >= 0:
            shared = weights[:, bone] * weights[:, parent]
            middle = (shared @ rest) / shared.sum()
            # Least squares over all times: both bones take it to the same place, and it is `middle` where that is open.
            bend = bones.rotations[:, parent] - bones.rotations[:, bone]
            gap = bones.translations[:, bone] - bones.translations[:, parent] - bend @ middle
            system = (bend.mT @ bend).mean(0) + _STIFFNESS**2 * torch.eye(3, dtype=rest.dtype)
            positions[bone] = middle + torch.linalg.solve(system, (bend.mT @ gap[..., None]).mean(0)[:, 0])
    return Joints(parents, positions)


def _parents(weights: Float[Tensor, "P B"]) -> Int[Tensor, " B"]:
    """The parents in the spanning trees whose bones share the largest weights."""
    shared = (weights.T @ weights).fill_diagonal_(0).numpy()
    tree = minimum_spanning_tree(csr_array(-shared))
    count, labels = connected_components(tree, directed=False)
    parents = np.full(len(shared), -1)
    for label in range(count):
        members = np.flatnonzero(labels == label)
        heaviest = members[weights.sum(0).numpy()[members].argmax()]
        order, predecessors = breadth_first_order(tree, heaviest, directed=False)
        parents[order[1:]] = predecessors[order[1:]]
    return torch.from_numpy(parents)
