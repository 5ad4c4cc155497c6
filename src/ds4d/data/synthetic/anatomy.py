"""What the sample creature is built from: painted ellipsoids that hang on swinging joints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ds4d.data.synthetic.textures import Number, Paint, Triple

_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Swing:
    """A turn about one axis (0 x, 1 y, 2 z) by amplitude * sin(2 pi (cycles * time + phase)) degrees."""

    axis: int
    amplitude_deg: Number
    cycles: int = 1
    phase: float = 0.0

    def matrix(self, time: Number) -> Float[np.ndarray, "4 4"]:
        """The turn at a time, about the origin."""
        return turn(self.axis, self.amplitude_deg * math.sin(2 * math.pi * (self.cycles * time + self.phase)))


@dataclass(frozen=True)
class Joint:
    """A point about which everything that hangs on it swings.

    Attributes:
        pivot: world position at rest.
        swings: the last one acts first.
        parent: the joint it hangs on; none for one that hangs on what stands still.
    """

    pivot: Triple
    swings: tuple[Swing, ...]
    parent: str | None = None

    def matrix(self, time: Number) -> Float[np.ndarray, "4 4"]:
        """The motion it gives to what hangs on it, its parent's motion left out: rest -> world."""
        motion = shift(self.pivot)
        for swing in self.swings:
            motion = motion @ swing.matrix(time)
        x, y, z = self.pivot
        return motion @ shift((-x, -y, -z))


@dataclass(frozen=True, eq=False)
class Part:
    """One ellipsoid.

    Attributes:
        shape: affine map from the unit sphere to the world at rest.
        paint: color on the unit sphere.
        joint: what it hangs on; none if it stands still.
        casts_shade: whether it takes ambient light from what is near it.
    """

    shape: Float[np.ndarray, "4 4"]
    paint: Paint
    joint: str | None = None
    casts_shade: bool = False


def turn(axis: int, angle_deg: Number) -> Float[np.ndarray, "4 4"]:
    """Right-handed rotation about a coordinate axis."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def shift(offset: Triple) -> Float[np.ndarray, "4 4"]:
    """Translation."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def ellipsoid(
    center: Triple,
    radii: Triple,
    paint: Paint,
    *,
    turn_deg: Triple = (0, 0, 0),
    joint: str | None = None,
    casts_shade: bool = False,
) -> Part:
    """An ellipsoid turned about z, then y, then x, and moved to its center."""
    turns = turn(0, turn_deg[0]) @ turn(1, turn_deg[1]) @ turn(2, turn_deg[2])
    return Part(shift(center) @ turns @ np.diag([*radii, 1.0]), paint, joint, casts_shade)


def mirror_part(part: Part) -> Part:
    """The right-hand twin of a left part, on the joint of the right-hand name."""
    return Part(_MIRROR @ part.shape, part.paint, part.joint and part.joint.replace("left", "right"))


def mirror_joint(joint: Joint) -> Joint:
    """The right-hand twin of a left joint, swinging in mirror image."""
    x, y, z = joint.pivot
    swings = tuple(
        Swing(s.axis, s.amplitude_deg if s.axis == 0 else -s.amplitude_deg, s.cycles, s.phase) for s in joint.swings
    )
    return Joint((-x, y, z), swings, joint.parent and joint.parent.replace("left", "right"))


def pose_parts(parts: tuple[Part, ...], joints: Mapping[str, Joint], time: Number) -> Float[np.ndarray, "P 4 4"]:
    """Affine maps from the unit sphere to the world at a time, one per part. A parent stands before its children."""
    motions: dict[str | None, Float[np.ndarray, "4 4"]] = {None: np.eye(4)}
    for name, joint in joints.items():
        motions[name] = motions[joint.parent] @ joint.matrix(time)
    return np.stack([motions[part.joint] @ part.shape for part in parts])
