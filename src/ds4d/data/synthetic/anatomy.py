"""The parts of the synthetic creature: textured ellipsoids attached to swinging joints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ds4d.data.synthetic.textures import Number, Texture, Triple

_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Swing:
    """A rotation about one axis (0 x, 1 y, 2 z) by amplitude * sin(2 pi (cycles * time + phase)) degrees."""

    axis: int
    amplitude_deg: Number
    cycles: int = 1
    phase: float = 0.0

    def matrix(self, time: Number) -> Float[np.ndarray, "4 4"]:
        """Matrix of the rotation at a time, about the origin."""
        return rotation(self.axis, self.amplitude_deg * math.sin(2 * math.pi * (self.cycles * time + self.phase)))


@dataclass(frozen=True)
class Joint:
    """A joint, about which everything attached to it rotates.

    Attributes:
        pivot: position at rest, world units.
        swings: rotations; the last one is applied first.
        parent: name of the joint it is attached to; None if it is attached to a static part.
    """

    pivot: Triple
    swings: tuple[Swing, ...]
    parent: str | None = None

    def matrix(self, time: Number) -> Float[np.ndarray, "4 4"]:
        """Motion of everything attached to it, relative to its parent: rest -> world."""
        motion = translation(self.pivot)
        for swing in self.swings:
            motion = motion @ swing.matrix(time)
        x, y, z = self.pivot
        return motion @ translation((-x, -y, -z))


@dataclass(frozen=True, eq=False)
class Part:
    """One ellipsoid.

    Attributes:
        shape: affine map from the unit sphere to the world at rest.
        texture: color on the unit sphere.
        joint: name of the joint it is attached to; None if it is static.
        occludes: whether it occludes ambient light.
    """

    shape: Float[np.ndarray, "4 4"]
    texture: Texture
    joint: str | None = None
    occludes: bool = False


def rotation(axis: int, angle_deg: Number) -> Float[np.ndarray, "4 4"]:
    """Right-handed rotation matrix about a coordinate axis (0 x, 1 y, 2 z)."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def translation(offset: Triple) -> Float[np.ndarray, "4 4"]:
    """Translation matrix."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def ellipsoid(
    center: Triple,
    radii: Triple,
    texture: Texture,
    *,
    rotation_deg: Triple = (0, 0, 0),
    joint: str | None = None,
    occludes: bool = False,
) -> Part:
    """An ellipsoid rotated about z, then y, then x, and translated to its center."""
    rotated = rotation(0, rotation_deg[0]) @ rotation(1, rotation_deg[1]) @ rotation(2, rotation_deg[2])
    return Part(translation(center) @ rotated @ np.diag([*radii, 1.0]), texture, joint, occludes)


def mirror_part(part: Part) -> Part:
    """The mirror image of a left part, on the right joint."""
    return Part(_MIRROR @ part.shape, part.texture, part.joint and part.joint.replace("left", "right"))


def mirror_joint(joint: Joint) -> Joint:
    """The mirror image of a left joint."""
    x, y, z = joint.pivot
    swings = tuple(
        Swing(s.axis, s.amplitude_deg if s.axis == 0 else -s.amplitude_deg, s.cycles, s.phase) for s in joint.swings
    )
    return Joint((-x, y, z), swings, joint.parent and joint.parent.replace("left", "right"))


def pose_parts(parts: tuple[Part, ...], joints: Mapping[str, Joint], time: Number) -> Float[np.ndarray, "P 4 4"]:
    """Affine maps from the unit sphere to the world at a time, one per part; parents must precede their children."""
    motions: dict[str | None, Float[np.ndarray, "4 4"]] = {None: np.eye(4)}
    for name, joint in joints.items():
        motions[name] = motions[joint.parent] @ joint.matrix(time)
    return np.stack([motions[part.joint] @ part.shape for part in parts])
