"""Procedural textures of the synthetic creature, as functions of the position on a unit sphere.

A texture gives linear RGB [3, N], a mask selects where a texture applies [N]; both take positions [3, N] of length 1 in
the coordinates of the part before it is scaled and posed, so that they move with it.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

Positions = Float[np.ndarray, "3 N"]
Texture = Callable[[Positions], Float[np.ndarray, "3 N"]]
Mask = Callable[[Positions], Bool[np.ndarray, " N"]]
Number = float | int
Triple = tuple[Number, Number, Number]

GAMMA = 2.2  # from linear RGB to sRGB


def plain(color: str) -> Texture:
    """One color, #rrggbb in sRGB."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** GAMMA
    return lambda u: np.broadcast_to(rgb[:, None], u.shape)


def over(base: Texture, *layers: tuple[Mask, Texture]) -> Texture:
    """`base` under layers, each with its texture where its mask holds, the last one on top."""

    def texture(u: Positions) -> Float[np.ndarray, "3 N"]:
        colors = base(u)
        for mask, top in layers:
            colors = np.where(mask(u), top(u), colors)
        return colors

    return texture


def mottled(base: Texture, depth: float, frequency: float) -> Texture:
    """`base` with irregular patches that are lighter or darker by up to the fraction `depth`."""

    def texture(u: Positions) -> Float[np.ndarray, "3 N"]:
        x, y, z = frequency * u
        waves = np.sin(x + 1.7 * np.sin(0.6 * y)) * np.sin(y + 1.3 * np.sin(0.7 * z)) * np.sin(z + np.sin(0.8 * x))
        return base(u) * (1 + depth * waves)

    return texture


def cap(direction: Triple, angle_deg: Number) -> Mask:
    """A round spot within `angle_deg` of a direction."""
    unit = np.array(direction) / np.linalg.norm(direction)
    return lambda u: unit @ u > math.cos(math.radians(angle_deg))


def spots(count: int, angle_deg: Number) -> Mask:
    """Round spots within `angle_deg` of `count` directions distributed evenly by the golden angle."""
    heights = 1 - (2 * np.arange(count) + 1) / count
    angles = np.arange(count) * math.pi * (3 - math.sqrt(5))
    across = np.sqrt(1 - heights**2)
    centers = np.stack((across * np.cos(angles), heights, across * np.sin(angles)), axis=-1)
    return lambda u: (centers @ u).max(0) > math.cos(math.radians(angle_deg))


def stripes(axis: int, count: int) -> Mask:
    """Every second of `2 count` equal slices across an axis."""
    return lambda u: np.floor(count * (u[axis] + 1)) % 2 == 1


def segments(count: int) -> Mask:
    """Every second of `2 count` equal wedges around the y axis."""
    return lambda u: np.floor(count * np.arctan2(u[0], u[2]) / math.pi) % 2 == 1


def beyond(axis: int, start: Number) -> Mask:
    """Where a coordinate is above `start`."""
    return lambda u: u[axis] > start


def before(axis: int, end: Number) -> Mask:
    """Where a coordinate is below `end`."""
    return lambda u: u[axis] < end


def both(first: Mask, second: Mask) -> Mask:
    """Where both masks hold."""
    return lambda u: first(u) & second(u)


def smile(width: float, bend: float, height: float, thickness: float) -> Mask:
    """A curved line on the +z side at `height`, which rises by `bend` towards its ends at x = +-width."""

    def mask(u: Positions) -> Bool[np.ndarray, " N"]:
        x, y, z = u
        offset = np.abs(y - height - bend * (x / width) ** 2)
        return (offset < thickness) & (np.abs(x) < width) & (z > 0)

    return mask
