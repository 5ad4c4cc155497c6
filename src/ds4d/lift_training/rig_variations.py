"""Other characters with the rigs of the models: longer limbs, larger heads, poses that no clip has."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.spatial.transform import Rotation

from ds4d.core import check_ranges
from ds4d.io import RigVariation

# The side in a name: left or right as a word or at a capital letter, or a letter between separators.
_SIDE = re.compile(r"(?i:left|right)|(?<![A-Za-z])[LRlr](?![A-Za-z])")


@dataclass(frozen=True)
class RigVariationSettings:
    """How often and how much rigs are varied.

    Attributes:
        chance: chance that a few poses of a clip are of another character.
        length: standard deviation of the logarithm of the distance of a node from its parent.
        girth: standard deviation of the logarithm of the size of what hangs on a node.
        turn: standard deviation of the rotation of a node about each axis, degrees. Nodes that carry most of the
            others are not turned: objects stay upright.
    """

    chance: float = 0.7
    length: float = 0.15
    girth: float = 0.15
    turn: float = 8.0

    def __post_init__(self) -> None:
        check_ranges(self, chance="[0, 1]", length="[0, 1]", girth="[0, 1]", turn="[0, 90]")


def random_variation(
    names: list[str], parents: Int[np.ndarray, "N"], settings: RigVariationSettings, rng: np.random.Generator
) -> RigVariation | None:
    """A random character of a rig whose left and right have equal sizes, or None: the character as it is.

    Args:
        names: names of the nodes.
        parents: the parent of each node, -1 where it has none.
        settings: how much.
        rng: source of randomness.
    """
    if rng.random() >= settings.chance:
        return None
    _, parts = np.unique([_SIDE.sub("", name) or str(index) for index, name in enumerate(names)], return_inverse=True)
    lengths = np.exp(settings.length * rng.standard_normal(len(names)))[parts]
    sizes = np.exp(settings.girth * rng.standard_normal(len(names)))[parts]
    slimness = np.exp(0.5 * settings.girth * rng.standard_normal((len(names), 3)))[parts]
    angles = np.deg2rad(settings.turn) * rng.standard_normal((len(names), 3))
    angles[_carries_most(parents)] = 0
    return RigVariation(lengths, Rotation.from_rotvec(angles).as_matrix(), sizes[:, None] * slimness)


def _carries_most(parents: Int[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
    """Nodes with at least half of all nodes below them."""
    below: Float64[np.ndarray, "N"] = np.zeros(len(parents))
    for node in range(len(parents)):
        ancestor = parents[node]
        while ancestor >= 0:
            below[ancestor] += 1
            ancestor = parents[ancestor]
    return below >= 0.5 * (len(parents) - 1)
