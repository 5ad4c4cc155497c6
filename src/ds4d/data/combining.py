"""Combining views of different origin: one image size, one loss weight per view."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import MultiViewVideo

GENERATED_WEIGHT = 0.5  # default loss weight of generated views; that of the input view is 1
_ASPECT_TOLERANCE = 0.01

SizedFile = tuple[Path, tuple[int, int]]


def common_size(files: Sequence[Sequence[SizedFile | None]], height: int | None) -> tuple[int, int]:
    """The width and height to which all images are resized.

    Args:
        files: T rows of V files with their (width, height); None where a view has no image.
        height: requested height, pixels; that of the first image if None.

    Raises:
        ValueError: the size of a view changes over time, or images differ in aspect ratio.
    """
    first, (first_width, first_height) = next(file for row in files for file in row if file)
    for view in zip(*files, strict=True):
        existing = [file for file in view if file]
        for path, size in existing:
            if size != existing[0][1]:
                raise ValueError(
                    f"{path} must have the size of {existing[0][0]}, {_text(existing[0][1])}, got {_text(size)}. "
                    "Resize it: all frames of a view must have one size."
                )
        path, (w, h) = existing[0]
        if abs(w * first_height / (h * first_width) - 1) > _ASPECT_TOLERANCE:
            raise ValueError(
                f"{path} must have the aspect ratio of {first}, {_text((first_width, first_height))}, "
                f"got {_text((w, h))}. Crop or pad it."
            )
    if height is None:
        return first_width, first_height
    if height < 1:
        raise ValueError(f"--size must be at least 1 pixel, got {height}.")
    return max(1, round(height * first_width / first_height)), height


def view_weights(num_views: int, generated_weight: float) -> Float[Tensor, " V"]:
    """Loss weights of views: 1 for the input view, `generated_weight` (above 0) for the others."""
    if not generated_weight > 0:
        raise ValueError(
            f"--generated-weight must be above 0, got {generated_weight}. Train on the input view alone to ignore the "
            "others."
        )
    weights = torch.full((num_views,), float(generated_weight))
    weights[0] = 1.0
    return weights


def with_weights_of_input(video: MultiViewVideo, weights: Float[Tensor, "T 1 h w"]) -> MultiViewVideo:
    """The video with the weights of its input view's pixels multiplied by others.

    Args:
        video: multi-view video.
        weights: weights in [0, 1].
    """
    height, width = weights.shape[-2:]
    if video.pixel_weights is None:
        pixels = torch.ones(*video.valid.shape, 1, height, width)
    else:
        old = video.pixel_weights
        pixels = F.interpolate(old.flatten(0, 1), (height, width), mode="bilinear").unflatten(0, old.shape[:2])
    pixels[:, 0] *= weights
    return replace(video, pixel_weights=pixels)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
