"""DSFD, dynamic-static feature decoupling: projection of each token on its reference, and the remainder."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_choices, check_ranges, released, rows_at_once
from ds4d.decoupling.reference import REFERENCES, ReferenceName
from ds4d.types import Cameras, DecoupledFeatures

_CELLS = 64  # a multiple of what vector registers hold
_BLOCKS = 2  # clips are worked on as a whole while they are not larger than this many blocks (`rows_at_once`)


@dataclass(frozen=True)
class DecouplingConfig:
    """Decoupling of frame features into static and dynamic parts (DSFD).

    Attributes:
        reference: features that those of each frame are projected on: of the `middle` frame, the `mean` over all
            frames, the direction half-way between the two (`middle+mean`), the `plane` of both (for the ablation), a
            `robust` mean, which few odd frames do not move, or one that is `learned` with the scene from `middle+mean`
            on; what the dynamic share guides (below) is measured before that.
        segments: number of parts of equal duration, each of which has a reference of its own frames.
        enabled: append the dynamic part to the frame features; without it they are used alone (row D of the ablation).
        loss_weight: how much more the image losses count where features are dynamic: weights are proportional to 1 +
            `loss_weight` times the dynamic share, with a mean of 1 over each image; 0 weighs all pixels alike.
        growth_weight: how much earlier Gaussians are cloned or split where features are dynamic: they are ranked by
            their gradients times 1 + `growth_weight` times their dynamic share; 0 ranks by gradients alone.
        frame_weight: how much more often frames are sampled that are dynamic: as often as 1 + `frame_weight` times
            their mean dynamic share, relative to the most dynamic frame; 0 samples all equally often.
    """

    reference: ReferenceName = "middle+mean"
    segments: int = 1
    enabled: bool = True
    loss_weight: float = 0.0
    growth_weight: float = 0.0
    frame_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self, reference=REFERENCES)
        check_ranges(self, segments="[1, 4096]", loss_weight="[0, 1000]")
        check_ranges(self, growth_weight="[0, 1000]", frame_weight="[0, 1000]")
        if self.reference == "learned" and self.segments > 1:
            raise ValueError(
                f"segments must be 1 for a learned reference, which is the same at all times, got {self.segments}. "
                "Leave segments at 1, or choose another reference."
            )


def reference_basis(maps: Float[Tensor, "T V C h w"], reference: str) -> Float[Tensor, "R V C h w"]:
    """Orthonormal vectors that span the reference of each cell (paper: r(j) / |r(j)|).

    Args:
        maps: frame features of all frames.
        reference: name of the reference, a key of `REFERENCES`.

    Returns:
        One vector per cell (R = 1), or two for `plane`; zeros where the reference is 0.

    Raises:
        ValueError: the name is unknown.
    """
    if reference not in REFERENCES:
        raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {reference!r}.")
    return REFERENCES[reference](maps)


def reference_of_all(maps: Float[Tensor, "T V C h w"], reference: str) -> Float[Tensor, "R V C h w"]:
    """`reference_basis` of maps in any precision, in single precision; of long clips some rows of cells at a time."""
    height, width = maps.shape[-2:]
    # Sums come out the same, bit by bit, if vector registers begin at the same cells as without parts.
    step = _CELLS // math.gcd(width, _CELLS)
    rows = max(step, _BLOCKS * rows_at_once(4 * maps[..., :1, :].numel()) // step * step)
    parts = []
    for first in range(0, height, rows):
        cells = torch.empty(maps[..., first : first + rows, :].shape, device=maps.device)
        done = 0
        for frames in released(maps):
            cells[done : done + len(frames)] = frames[..., first : first + rows, :]
            done += len(frames)
        parts.append(reference_basis(cells, reference))
    return torch.cat(parts, dim=-2)


def references_of_segments(
    maps: Float[Tensor, "T V C h w"], config: DecouplingConfig
) -> Iterator[tuple[slice, Float[Tensor, "R V C h w"]]]:
    """The frames of each segment, and the basis that they are projected on; as many segments as frames at most."""
    segments = min(config.segments, len(maps))
    edges = [round(len(maps) * part / segments) for part in range(segments + 1)]
    for first, end in itertools.pairwise(edges):
        yield slice(first, end), reference_of_all(maps[first:end], config.reference)


def decouple(maps: Float[Tensor, "T V C h w"], basis: Float[Tensor, "R _ _ _ _"]) -> DecoupledFeatures:
    """Splits every token into its projection on the reference and the orthogonal remainder (paper, DSFD).

        static(i,j)  = sum over the basis of (f(i,j) . b(j)) b(j)
        dynamic(i,j) = f(i,j) - static(i,j)

    Cells are compared across frames, so the camera of each view must be static (`check_static_cameras`).

    Args:
        maps: frame features of any frames.
        basis: orthonormal vectors of the same views (`reference_basis`).

    Raises:
        ValueError: maps and basis differ in views, channels or cells.
    """
    if maps.shape[1:] != basis.shape[1:]:
        raise ValueError(
            f"decouple: basis must have the views, channels and cells of maps {list(maps.shape[1:])}, "
            f"got {list(basis.shape[1:])}. Make both from the same features."
        )
    static = torch.zeros_like(maps)
    for vector in basis:
        static = static + (maps * vector).sum(2, keepdim=True) * vector
    return DecoupledFeatures(static, maps - static)


def dynamic_fraction(features: DecoupledFeatures) -> Float[Tensor, "T V h w"]:
    """The sine of the angle between each token and its reference, |dynamic| / |f|, in [0, 1]; 0 where f is 0."""
    dynamic = features.dynamic.square().sum(2)
    total = (features.static + features.dynamic).square().sum(2)
    return torch.where(total > 0, dynamic / total.clamp_min(1e-12), torch.zeros_like(total)).clamp(0, 1).sqrt()


def check_static_cameras(cameras: Cameras) -> None:
    """Refuses views whose camera moves: a cell would show another part of the object in every frame.

    Raises:
        ValueError: a camera moves.
    """
    if not cameras.is_static:
        raise ValueError(
            "The camera of each view must be static for frame features, got one that moves. Fit this input without "
            "frame features: --no-fusion (fusion=None)."
        )
