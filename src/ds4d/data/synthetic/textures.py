"""Procedural colors of the sample creature, as functions of the position on a unit sphere.

A paint gives linear RGB [3, N], a mask says where something is painted [N]; both take positions [3, N] of length 1 in
the coordinates of the part before it is stretched and posed, so a texture moves with its part.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

Positions = Float[np.ndarray, "3 N"]
Paint = Callable[[Positions], Float[np.ndarray, "3 N"]]
Mask = Callable[[Positions], Bool[np.ndarray, " N"]]
Number = float | int
Triple = tuple[Number, Number, Number]

GAMMA = 2.2  # from linear light to displayed values


def plain(color: str) -> Paint:
    """One color, written #rrggbb as displayed (sRGB)."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** GAMMA
    return lambda u: np.broadcast_to(rgb[:, None], u.shape)


def over(base: Paint, *layers: tuple[Mask, Paint]) -> Paint:
    """`base` with each layer's paint over it where the layer's mask holds, the last layer on top."""

    def paint(u: Positions) -> Float[np.ndarray, "3 N"]:
        colors = base(u)
        for mask, top in layers:
            colors = np.where(mask(u), top(u), colors)
        return colors

    return paint


def mottled(base: Paint, depth: float, frequency: float) -> Paint:
    """`base`, lighter and darker by up to the fraction `depth` in small irregular patches."""

    def paint(u: Positions) -> Float[np.ndarray, "3 N"]:
        x, y, z = frequency * u
        waves = np.sin(x + 1.7 * np.sin(0.6 * y)) * np.sin(y + 1.3 * np.sin(0.7 * z)) * np.sin(z + np.sin(0.8 * x))
        return base(u) * (1 + depth * waves)

    return paint


def cap(direction: Triple, angle_deg: Number) -> Mask:
    """The round spot within `angle_deg` of a direction."""
    unit = np.array(direction) / np.linalg.norm(direction)
    return lambda u: unit @ u > math.cos(math.radians(angle_deg))


def spots(count: int, angle_deg: Number) -> Mask:
    """Round spots within `angle_deg` of `count` directions spread evenly by the golden angle."""
    heights = 1 - (2 * np.arange(count) + 1) / count
    turns = np.arange(count) * math.pi * (3 - math.sqrt(5))
    across = np.sqrt(1 - heights**2)
    centers = np.stack((across * np.cos(turns), heights, across * np.sin(turns)), axis=-1)
    return lambda u: (centers @ u).max(0) > math.cos(math.radians(angle_deg))


def stripes(axis: int, count: int) -> Mask:
    """Every second of `2 count` equal slices across an axis."""
    return lambda u: np.floor(count * (u[axis] + 1)) % 2 == 1


def segments(count: int) -> Mask:
    """Every second of `2 count` equal wedges round the y axis."""
    return lambda u: np.floor(count * np.arctan2(u[0], u[2]) / math.pi) % 2 == 1


def beyond(axis: int, start: Number) -> Mask:
    """Where a coordinate exceeds `start`."""
    return lambda u: u[axis] > start


def before(axis: int, end: Number) -> Mask:
    """Where a coordinate stays below `end`."""
    return lambda u: u[axis] < end


def both(first: Mask, second: Mask) -> Mask:
    """Where both masks hold."""
    return lambda u: first(u) & second(u)


def smile(width: float, bend: float, height: float, thickness: float) -> Mask:
    """A line on the front (+z), `height` above the middle, that rises by `bend` towards its ends at x = +-width."""

    def mask(u: Positions) -> Bool[np.ndarray, " N"]:
        x, y, z = u
        offset = np.abs(y - height - bend * (x / width) ** 2)
        return (offset < thickness) & (np.abs(x) < width) & (z > 0)

    return mask
