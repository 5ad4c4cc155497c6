"""Random creatures made of simple parts: as many as one likes, where animated models are few.

A creature is a tree of bones with rounded, tapered parts: a trunk, a head and a tail, and pairs of legs, arms, wings,
fins, ears and eyes, mirrored at its plane of symmetry. Its joints swing at random, so that each pose differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8
from scipy.spatial.transform import Rotation

from ds4d.lift_training.posed_models import PosedModel, mapped, normalized, sample_faces

_ROWS, _COLUMNS = 9, 14  # of the mesh of a part
_TEXTURE = 0.12  # standard deviation of the strength of the markings, sRGB

_Vector = Sequence[float | int] | Float[np.ndarray, "3"]


def random_creatures(count: int, *, num_poses: int, num_samples: int, seed: int, workers: int = 1) -> list[PosedModel]:
    """Many of them, made by some processes: see `random_creature`."""
    seeds = np.random.SeedSequence(seed).generate_state(count)
    make = partial(random_creature, num_poses=num_poses, num_samples=num_samples)
    return mapped(make, seeds.tolist(), workers, work="making creatures")


def random_creature(seed: int, *, num_poses: int, num_samples: int) -> PosedModel:
    """A random creature in random poses.

    Args:
        seed: equal seeds give equal creatures.
        num_poses: number of poses.
        num_samples: number of surface samples.
    """
    rng = np.random.default_rng(seed)
    creature = _Creature(rng)
    plans: tuple[Callable[[_Creature], None], ...] = (
        _four_legs,
        _two_legs,
        _two_legs,
        _upright,
        _fish,
        _many_legs,
        _blob,
    )
    plans[rng.integers(len(plans))](creature)
    vertices, faces, colors = creature.posed(num_poses)
    vertices = normalized(vertices, vertices)
    chosen, barycentric = sample_faces(vertices, faces, num_samples, rng)
    return PosedModel(
        f"creature {seed}",
        vertices.astype(np.float16),
        faces,
        chosen.astype(np.int32),
        barycentric[:, :2].astype(np.float16),
        colors[faces[chosen, 0]],
    )


@dataclass(frozen=True)
class _Bone:
    """A joint: where it is in its parent's frame, how it is turned at rest, and how it swings.

    Attributes:
        parent: index of its parent; -1 for the root.
        offset: position in the parent's frame.
        angles: rotation at rest, degrees about x, y and z.
        swing: amplitudes of the swing about x, y and z, degrees.
        phase: of the swing, radians.
    """

    parent: int
    offset: Float[np.ndarray, "3"]
    angles: Float[np.ndarray, "3"]
    swing: Float[np.ndarray, "3"]
    phase: float


@dataclass
class _Creature:
    """Bones and parts as they are added.

    Attributes:
        rng: source of randomness.
        bones: bones; a parent comes before its children.
        parts: vertices in the frame of a bone, the bone, and the color of each vertex.
    """

    rng: np.random.Generator
    bones: list[_Bone] = field(default_factory=list)
    parts: list[tuple[Float[np.ndarray, "V 3"], int, Float[np.ndarray, "V 3"]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng
        self.palette = np.clip(rng.random(3) + 0.35 * rng.standard_normal((4, 3)), 0.03, 1)
        if rng.random() < 0.5:
            self.palette[1] = np.clip(0.6 * self.palette[0] + 0.4, 0, 1)  # a lighter belly
        self.roundness = rng.uniform(0.25, 1.0) if rng.random() < 0.35 else rng.uniform(0.8, 1.0)
        self.markings = rng.standard_normal((3, 3)) * rng.uniform(2, 12), rng.normal(0, _TEXTURE, 3)

    def between(self, low: float, high: float) -> float:
        """A random number."""
        return float(self.rng.uniform(low, high))

    def count(self, fewest: int, most: int) -> int:
        """A random whole number."""
        return int(self.rng.integers(fewest, most + 1))

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return bool(self.rng.random() < probability)

    def bone(self, parent: int, offset: _Vector, angles: _Vector = (0, 0, 0), swing: _Vector = (0, 0, 0)) -> int:
        """Adds a joint; returns its index."""
        phase = self.between(0.0, 2.0 * np.pi)
        vectors = [np.asarray(vector, float) for vector in (offset, angles, swing)]
        self.bones.append(_Bone(parent, *vectors, phase))
        return len(self.bones) - 1

    def part(
        self, bone: int, center: _Vector, radii: _Vector, *, color: int = 0, taper: float = 0.0, belly: bool = False
    ) -> None:
        """Adds a rounded box or ellipsoid: `taper` narrows its upper (+y) end, or its lower one if it is negative."""
        shape, _ = _superellipsoid(round(self.roundness, 2))
        narrowed = shape * np.stack((1 - taper * shape[:, 1], np.ones(len(shape)), 1 - taper * shape[:, 1]), 1)
        points = narrowed * np.asarray(radii) + np.asarray(center)
        colors = np.broadcast_to(self.palette[color], points.shape).copy()
        if belly:
            colors[shape[:, 1] < -0.3] = self.palette[1]
        frequencies, strength = self.markings
        colors += np.sin(points @ frequencies).sum(1, keepdims=True) * strength
        self.parts.append((points, bone, np.clip(colors, 0, 1)))

    def limb(
        self,
        parent: int,
        offset: _Vector,
        lengths: Sequence[float | int],
        width: float,
        *,
        angles: Sequence[_Vector],
        swing: float,
        flat: float = 1.0,
        color: int = 0,
        foot: float = 0.0,
    ) -> int:
        """Adds a chain of parts along -y; returns its last joint."""
        bone, start = parent, np.asarray(offset, float)
        for number, (length, turned) in enumerate(zip(lengths, angles, strict=True)):
            bone = self.bone(bone, start, turned, (swing, 0.3 * swing, 0.4 * swing))
            thick = width * 0.8**number
            radii = (thick, 0.6 * length + 0.3 * thick, thick * flat)
            self.part(bone, (0, -0.5 * length, 0), radii, color=color, taper=-0.25)
            start = np.array([0, -length, 0])
        if foot:
            self.part(bone, (0, start[1], 0.5 * foot), (1.2 * width, 0.5 * width, foot), color=2)
        return bone

    def posed(
        self, count: int
    ) -> tuple[Float32[np.ndarray, "P V 3"], Int32[np.ndarray, "F 3"], UInt8[np.ndarray, "V 3"]]:
        """Vertices of each pose, faces, and the color of each vertex."""
        poses = []
        for pose in range(count):
            time = 2 * np.pi * (pose + self.rng.random()) / count
            frames: list[tuple[np.ndarray, np.ndarray]] = []
            for bone in self.bones:
                angles = bone.angles + bone.swing * np.sin(time + bone.phase)
                turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
                if bone.parent < 0:
                    frames.append((turn, bone.offset))
                else:
                    rotation, position = frames[bone.parent]
                    frames.append((rotation @ turn, position + rotation @ bone.offset))
            poses.append(
                np.concatenate([points @ frames[bone][0].T + frames[bone][1] for points, bone, _ in self.parts])
            )
        _, faces = _superellipsoid(1.0)
        starts = np.cumsum([0, *(len(points) for points, *_ in self.parts)])[:-1]
        colors = np.concatenate([color for *_, color in self.parts])
        every = np.concatenate([faces + start for start in starts]).astype(np.int32)
        return np.stack(poses).astype(np.float32), every, np.rint(255 * colors).astype(np.uint8)


def _head(creature: _Creature, neck: int, offset: _Vector, size: float, *, pitch: float = 0.0) -> None:
    """A head that looks along +z, with a snout or beak, eyes, ears and horns or none of them."""
    head = creature.bone(neck, offset, (pitch, 0, 0), (10, 15, 8))
    shape = size * np.exp(0.2 * creature.rng.standard_normal(3))
    creature.part(head, (0, 0, 0.3 * size), shape, taper=creature.between(-0.3, 0.3), belly=creature.chance(0.4))
    if creature.chance(0.7):
        length, wide = size * creature.between(0.3, 1.2), size * creature.between(0.15, 0.6)
        center = (0, size * creature.between(-0.5, 0.1), 0.3 * size + 0.8 * shape[2])
        creature.part(head, center, (wide, size * creature.between(0.12, 0.4), length), color=creature.count(0, 2))
    eye, apart, high = (size * creature.between(*ranges) for ranges in ((0.1, 0.3), (0.3, 0.8), (0.0, 0.5)))
    ears, ear_color, ear = (
        creature.chance(0.6),
        creature.count(0, 1),
        size * np.array([creature.between(0.1, 0.4) for _ in range(3)]),
    )
    tall, leaning = creature.between(0.3, 1.4) * size, creature.between(-10.0, 60.0)
    for side in (-1, 1):
        across = side * min(apart, 0.9 * shape[0])
        creature.part(head, (across, high, 0.3 * size + 0.75 * shape[2]), (eye, eye, 0.7 * eye), color=3)
        if ears:
            root = creature.bone(head, (0.6 * side * shape[0], 0.7 * shape[1], 0), (0, 0, -side * leaning), (8, 0, 8))
            creature.part(root, (0, 0.6 * tall, 0), (ear[0], tall, 0.5 * ear[2]), taper=0.6, color=ear_color)
    if creature.chance(0.15):
        creature.part(
            head, (0, shape[1] + 0.2 * size, 0.3 * size), (0.15 * size, 0.6 * size, 0.15 * size), taper=0.8, color=2
        )


def _tail(creature: _Creature, parent: int, offset: _Vector, length: float, width: float, *, raised: float) -> None:
    """A tail towards -z; raised by an angle in degrees."""
    count = creature.count(1, 4)
    angles = [(90 + raised, 0, 0), *((creature.between(-25.0, 25.0), 0, 0) for _ in range(count - 1))]
    parts = [length / count] * count
    creature.limb(parent, offset, parts, width, angles=angles, swing=15.0, color=creature.count(0, 1))


def _trunk(creature: _Creature, radii: _Vector, *, pitch: float = 0.0) -> int:
    """The root: a trunk of one to three parts along z."""
    root = creature.bone(-1, (0, 0, 0), (pitch, 0, 0), (4, 4, 4))
    width, height, length = radii
    for place in ((0.0,), (-0.45, 0.45), (-0.6, 0.0, 0.6))[creature.count(0, 2)]:
        scale = np.exp(0.15 * creature.rng.standard_normal(3))
        size = np.array([width, height, length * (1.0 if place == 0 else 0.6)]) * scale
        creature.part(root, (0, 0, place * length), size, belly=True)
    return root


def _four_legs(creature: _Creature) -> None:
    """Dogs, horses, frogs, lizards, elephants."""
    length = 1.0
    width, height = creature.between(0.2, 0.6), creature.between(0.25, 0.7)
    root = _trunk(creature, (width, height, length))
    leg, thick = creature.between(0.3, 1.5), creature.between(0.08, 0.25)
    sprawl = creature.between(30.0, 80.0) if creature.chance(0.25) else creature.between(0.0, 12.0)
    knee, swing = creature.between(0.0, 50.0), creature.between(8.0, 35.0)
    for z, bend in ((0.7 * length, -1), (-0.7 * length, 1)):
        for side in (-1, 1):
            angles = [(bend * 0.5 * knee, 0, side * sprawl), (-bend * knee, 0, -side * 0.8 * sprawl)]
            at = (0.8 * side * width, -0.4 * height, z)
            creature.limb(root, at, [0.5 * leg, 0.5 * leg], thick, angles=angles, swing=swing, foot=thick)
    neck_length, rise = creature.between(0.1, 0.9), creature.between(0.0, 70.0)
    neck = creature.bone(root, (0, 0.3 * height, 0.9 * length), (-rise, 0, 0), (6, 8, 4))
    creature.part(neck, (0, 0, 0.5 * neck_length), (0.5 * width, 0.5 * height, 0.7 * neck_length))
    _head(creature, neck, (0, 0, neck_length), creature.between(0.22, 0.5), pitch=rise + creature.between(-15.0, 25.0))
    if creature.chance(0.85):
        _tail(
            creature,
            root,
            (0, 0.2 * height, -0.9 * length),
            creature.between(0.3, 1.4),
            0.12,
            raised=creature.between(-60.0, 60.0),
        )


def _two_legs(creature: _Creature) -> None:
    """Birds and dinosaurs: a level trunk on two legs."""
    length = 0.9
    width, height = creature.between(0.3, 0.6), creature.between(0.3, 0.6)
    root = _trunk(creature, (width, height, length), pitch=-creature.between(0.0, 50.0))
    leg, thick, swing = creature.between(0.6, 1.5), creature.between(0.08, 0.25), creature.between(10.0, 40.0)
    wings, span = creature.chance(0.5), creature.between(0.5, 1.8)
    spread = creature.between(-80.0, 20.0)
    for side in (-1, 1):
        creature.limb(
            root, (0.7 * side * width, -0.3 * height, -0.1), [0.5 * leg, 0.5 * leg], thick,
            angles=[(-20, 0, 0), (40, 0, 0)], swing=swing, foot=2 * thick,
        )  # fmt: skip
        at, angles = (0.9 * side * width, 0.2 * height, 0.3 * length), [(0, 0, side * (90 + spread)), (0, 0, side * 15)]
        if wings:
            creature.limb(root, at, [0.5 * span] * 2, 0.05, angles=angles, swing=25.0, flat=8.0, color=1)
        else:
            creature.limb(root, at, [0.25, 0.2], 0.08, angles=[(-40, 0, side * 10), (-50, 0, 0)], swing=20.0)
    neck_length = creature.between(0.1, 0.8)
    neck = creature.bone(root, (0, 0.5 * height, 0.8 * length), (-creature.between(20.0, 70.0), 0, 0), (8, 8, 4))
    creature.part(neck, (0, 0, 0.5 * neck_length), (0.4 * width, 0.4 * height, 0.7 * neck_length))
    _head(creature, neck, (0, 0, neck_length), creature.between(0.25, 0.55), pitch=creature.between(30.0, 80.0))
    _tail(creature, root, (0, 0, -0.9 * length), creature.between(0.3, 1.6), 0.2, raised=creature.between(-30.0, 50.0))


def _upright(creature: _Creature) -> None:
    """People, robots, bears and gnomes: an upright trunk with legs and arms."""
    width, depth, height = creature.between(0.25, 0.6), creature.between(0.18, 0.5), creature.between(0.35, 0.8)
    root = creature.bone(-1, (0, 0, 0), (creature.between(-10.0, 20.0), 0, 0), (8, 20, 5))
    creature.part(root, (0, 0, 0), (width, height, depth), taper=creature.between(-0.35, 0.35))
    creature.part(root, (0, -0.8 * height, 0), (0.9 * width, 0.4 * height, 0.9 * depth), color=2)
    leg, thick = creature.between(0.5, 1.6) * height, creature.between(0.08, 0.25)
    arm, raised, elbow = creature.between(0.5, 1.3) * height, creature.between(5.0, 85.0), creature.between(0.0, 80.0)
    swing = creature.between(10.0, 45.0)
    for side in (-1, 1):
        hip, shoulder = (0.5 * side * width, -0.9 * height, 0), (side * width, 0.7 * height, 0)
        creature.limb(root, hip, [0.6 * leg, 0.5 * leg], thick, angles=[(-10, 0, side * 5), (15, 0, 0)],
                      swing=swing, foot=1.8 * thick, color=2)  # fmt: skip
        hand = creature.limb(root, shoulder, [0.6 * arm, 0.5 * arm], 0.75 * thick,
                             angles=[(-20, 0, side * raised), (-elbow, 0, 0)], swing=swing)  # fmt: skip
        creature.part(hand, (0, -0.6 * arm, 0), (thick, thick, thick), color=1)
        if side == 1 and creature.chance(0.3):  # a tool
            creature.part(hand, (0, -0.6 * arm, 0.5), (0.06, 0.06, creature.between(0.4, 1.0)), color=3)
            creature.part(hand, (0, -0.6 * arm, 1.0), (0.15, creature.between(0.05, 0.4), 0.15), color=3)
    _head(creature, root, (0, height + creature.between(0.1, 0.3), 0), creature.between(0.25, 0.7))
    if creature.chance(0.25):  # a cape, a shell or a backpack
        creature.part(
            root, (0, 0, -depth), (width, creature.between(0.5, 1.3) * height, creature.between(0.06, 0.4)), color=3
        )
    if creature.chance(0.25):
        _tail(
            creature,
            root,
            (0, -0.9 * height, -depth),
            creature.between(0.4, 1.0),
            0.1,
            raised=creature.between(-60.0, 30.0),
        )


def _fish(creature: _Creature) -> None:
    """Fish, whales and snakes: a body along z that bends, with fins."""
    count = creature.count(3, 6)
    width, height, length = creature.between(0.15, 0.6), creature.between(0.25, 0.7), creature.between(0.25, 0.5)
    bone = creature.bone(-1, (0, 0, 0))
    bodies = [bone]
    for number in range(count):
        scale = np.sin(np.pi * (0.25 + 0.7 * number / count))
        creature.part(bone, (0, 0, 0), (width * scale, height * scale, length), belly=True)
        bone = creature.bone(bone, (0, 0, -1.1 * length), (0, 0, 0), (3, 15, 0))
        bodies.append(bone)
    fin = creature.between(0.3, 0.9)
    tall, across = (fin, 0.05) if creature.chance(0.7) else (0.05, fin)
    creature.part(bodies[-1], (0, 0, -0.3), (across, tall, 0.3), color=1)
    if creature.chance(0.7):
        creature.part(bodies[count // 2], (0, height, 0), (0.05, creature.between(0.2, 0.7), 0.3), color=1, taper=0.4)
    for side in (-1, 1):
        angles = [(0, 0, side * creature.between(40.0, 110.0))]
        creature.limb(bodies[1], (0.8 * side * width, 0, 0), [fin], 0.05, angles=angles, swing=20.0, flat=4.0, color=1)
    _head(creature, bodies[0], (0, 0, 0.5 * length), 0.7 * creature.between(0.7, 1.0) * min(width, height) + 0.1)


def _many_legs(creature: _Creature) -> None:
    """Spiders, beetles and crabs."""
    width, height, length = creature.between(0.3, 0.7), creature.between(0.2, 0.5), creature.between(0.4, 0.9)
    root = _trunk(creature, (width, height, length))
    pairs, leg = creature.count(3, 4), creature.between(0.5, 1.3)
    for number in range(pairs):
        z = length * (0.8 - 1.6 * number / (pairs - 1))
        for side in (-1, 1):
            angles = [(0, side * 30 * (number - 1), side * creature.between(80.0, 130.0)), (0, 0, -side * 80)]
            creature.limb(root, (0.7 * side * width, 0, z), [0.5 * leg, 0.7 * leg], 0.07, angles=angles, swing=18.0)
    _head(creature, root, (0, 0, length), creature.between(0.2, 0.45))


def _blob(creature: _Creature) -> None:
    """Ghosts, slimes, mushrooms, and machines of a few boxes."""
    root = creature.bone(-1, (0, 0, 0), (0, 0, 0), (8, 25, 8))
    size = np.array([creature.between(0.4, 0.9) for _ in range(3)])
    creature.part(root, (0, 0, 0), size, taper=creature.between(-0.5, 0.5), belly=creature.chance(0.4))
    for _ in range(creature.count(0, 4)):
        place = creature.rng.standard_normal(3)
        place *= 0.9 * size / np.linalg.norm(place)
        radii = [creature.between(0.08, 0.6) for _ in range(3)]
        pairs = (-1, 1) if creature.chance(0.6) else (1,)
        color = creature.count(0, 3)
        for side in pairs:
            bone = creature.bone(root, place * (side, 1, 1), (0, 0, 0), (10, 10, 10))
            creature.part(bone, (0, 0, 0), radii, color=color, taper=creature.between(-0.5, 0.5))
    if creature.chance(0.7):
        _head(creature, root, (0, 0.5 * size[1], 0.6 * size[2]), creature.between(0.2, 0.4))


@cache
def _superellipsoid(roundness: float) -> tuple[Float[np.ndarray, "V 3"], Int32[np.ndarray, "F 3"]]:
    """Vertices and faces: a sphere of radius 1 where roundness is 1, nearly a cube of side 2 where it is near 0."""
    rows, columns = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, _ROWS), np.linspace(0, 2 * np.pi, _COLUMNS + 1), indexing="ij"
    )

    def power(values: np.ndarray) -> np.ndarray:
        return np.sign(values) * np.abs(values) ** roundness

    points = np.stack(
        (
            power(np.cos(rows)) * power(np.sin(columns)),
            power(np.sin(rows)),
            power(np.cos(rows)) * power(np.cos(columns)),
        ),
        -1,
    )
    first = (np.arange(_ROWS - 1)[:, None] * (_COLUMNS + 1) + np.arange(_COLUMNS)).ravel()
    below = first + _COLUMNS + 1
    faces = np.concatenate((np.stack((first, first + 1, below), 1), np.stack((first + 1, below + 1, below), 1)))
    return points.reshape(-1, 3), faces.astype(np.int32)
