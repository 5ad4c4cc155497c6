"""What every loader needs to bring views of different origin together: one size, cameras over time, trust."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

GENERATED_WEIGHT = 0.5  # trust in a generated view; the recorded one has 1
_ASPECT_TOLERANCE = 0.01

SizedFile = tuple[Path, tuple[int, int]]


def common_size(files: Sequence[Sequence[SizedFile | None]], height: int | None) -> tuple[int, int]:
    """Width and height that all images are brought to.

    Args:
        files: T rows of V files with their (width, height); None where a view has no image.
        height: wanted height in pixels; that of the first image if None.

    Raises:
        ValueError: a view changes its size over time, or images differ in shape (width : height).
    """
    first, (first_width, first_height) = next(file for row in files for file in row if file)
    for view in zip(*files, strict=True):
        existing = [file for file in view if file]
        for path, size in existing:
            if size != existing[0][1]:
                raise ValueError(
                    f"{path} must have the size of {existing[0][0]}, {_text(existing[0][1])}, got {_text(size)}. "
                    "Resize it: the frames of one view share one size."
                )
        path, (w, h) = existing[0]
        if abs(w * first_height / (h * first_width) - 1) > _ASPECT_TOLERANCE:
            raise ValueError(
                f"{path} must have the shape of {first}, {_text((first_width, first_height))}, got {_text((w, h))}. "
                "Crop or pad it: all views share one width : height."
            )
    if height is None:
        return first_width, first_height
    if height < 1:
        raise ValueError(f"size must be a height of at least 1 pixel, got {height}.")
    return max(1, round(height * first_width / first_height)), height


def view_weights(views: int, generated_weight: float) -> Float[Tensor, " V"]:
    """View weights: 1 for the real view, `generated_weight` (above 0) for the others."""
    if not generated_weight > 0:
        raise ValueError(
            f"generated_weight must be above 0, got {generated_weight}. Leave the views out to ignore them."
        )
    weights = torch.full((views,), float(generated_weight))
    weights[0] = 1.0
    return weights


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
