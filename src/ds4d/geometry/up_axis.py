"""Worlds of other programs, where up is another axis than in ours."""

from dataclasses import replace
from typing import Literal

import torch

from ds4d.geometry.rotations import quats_to_matrices
from ds4d.types import Similarity

UpAxis = Literal["y", "z", "-y"]

# Quaternions wxyz that turn +y to the axis, about x.
_TURNS = {"y": (1.0, 0.0, 0.0, 0.0), "z": (0.5**0.5, 0.5**0.5, 0.0, 0.0), "-y": (0.0, 1.0, 0.0, 0.0)}


def turned_world(world: Similarity, up_axis: UpAxis | None) -> Similarity:
    """The way into the inner world from the user's, or from one of the same place and size with another axis up.

    Args:
        world: from the user's world to the inner one, which is +y up.
        up_axis: "y", "z" (Blender) or "-y" (OpenCV); None leaves the user's world as it is.

    Raises:
        ValueError: `up_axis` is none of these.
    """
    if up_axis is None:
        return world
    if up_axis not in _TURNS:
        raise ValueError(f"turned_world: up_axis must be one of {', '.join(_TURNS)}, got {up_axis!r}.")
    return replace(world, rotation=quats_to_matrices(torch.tensor(_TURNS[up_axis])).T)
