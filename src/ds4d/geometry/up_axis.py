"""Worlds whose up axis differs from ours (+y): Blender's, OpenCV's."""

from dataclasses import replace
from typing import Literal

import torch

from ds4d.geometry.bounds import rotation_to_y
from ds4d.types import Similarity

UpAxis = Literal["y", "z", "-y"]

UP_AXES: dict[str, tuple[float, float, float]] = {"y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}


def set_up_axis(world: Similarity, up_axis: UpAxis | None) -> Similarity:
    """The similarity from a world with another up axis, of the same origin and scale, to normalized space.

    Args:
        world: similarity from world space to normalized space, which is +y up.
        up_axis: "y", "z" (Blender) or "-y" (OpenCV); None returns `world` unchanged.

    Raises:
        ValueError: `up_axis` is none of these.
    """
    if up_axis is None:
        return world
    if up_axis not in UP_AXES:
        raise ValueError(f"up_axis must be one of {', '.join(UP_AXES)}, got {up_axis!r}.")
    return replace(world, rotation=rotation_to_y(torch.tensor(UP_AXES[up_axis])))
