"""Gaussians in world space, whose up axis may differ from that of normalized space (+y)."""

import math
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry.rotations import matrices_to_quats, multiply_quats
from ds4d.geometry.similarity import inverse_similarity, rotation_to_y, transform_points
from ds4d.geometry.spherical_harmonics import evaluate_sh
from ds4d.types import RawGaussians, Similarity

UpAxis = Literal["y", "z", "-y"]

UP_AXES: dict[str, tuple[float, float, float]] = {"y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}

_SMALL = 0.05  # coefficients so small that no color reaches the clamp at 0


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


def roll_over(world: Similarity) -> Similarity:
    """The similarity from a world turned by 180 degrees about z, of the same origin and scale, to normalized space.

    Up becomes down and right becomes left, front stays front. Programs that take all files of Gaussians for those of
    captured scenes, which are y down, turn them back.
    """
    return replace(world, rotation=torch.diag(torch.tensor([-1.0, -1.0, 1.0])))


def mirror_z(raw: RawGaussians) -> RawGaussians:
    """Gaussians with z negated: those of a right-handed world in a left-handed one, view-dependent color included."""
    mirror = torch.tensor([1.0, 1.0, -1.0]).to(raw.means)
    return replace(
        raw,
        means=raw.means * mirror,
        quats=raw.quats * torch.tensor([1.0, -1.0, -1.0, 1.0]).to(raw.quats),  # M R M is a rotation again
        sh=rotate_sh(raw.sh, torch.diag(mirror)),
    )


def to_world(raw: RawGaussians, world: Similarity) -> RawGaussians:
    """Gaussians of normalized space in world space: translated, rotated and scaled, view-dependent color included.

    Args:
        raw: Gaussians in normalized space.
        world: similarity from world space to normalized space.
    """
    return transform_gaussians(inverse_similarity(world), raw)


def transform_gaussians(similarity: Similarity, raw: RawGaussians) -> RawGaussians:
    """Gaussians in world space as Gaussians in normalized space, view-dependent color included."""
    quat = matrices_to_quats(similarity.rotation).to(raw.quats)
    return RawGaussians(
        means=transform_points(similarity, raw.means),
        quats=multiply_quats(quat.expand_as(raw.quats), raw.quats),
        log_scales=raw.log_scales + math.log(similarity.scale),
        opacity_logits=raw.opacity_logits,
        sh=rotate_sh(raw.sh, similarity.rotation.to(raw.sh)),
    )


def rotate_sh(sh: Float[Tensor, "*S N K 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "*S N K 3"]:
    """Rotates (or reflects) spherical harmonics: the color of the result along R d is that of `sh` along d.

    Rotated harmonics are sums of harmonics of the same degree, so the K x K matrix between them follows exactly from
    their values in a few directions.
    """
    bases = sh.shape[-2]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4 * bases, 3, generator=generator, dtype=torch.float64)
    rotated = directions @ rotation.T.to(directions)
    mixing = torch.linalg.lstsq(_basis(bases, rotated), _basis(bases, directions)).solution
    return torch.einsum("kj,...jc->...kc", mixing.to(sh), sh)


def _basis(bases: int, directions: Float[Tensor, "D 3"]) -> Float[Tensor, "D K"]:
    """Values of all harmonics in all directions."""
    one_each = _SMALL * torch.eye(bases, dtype=directions.dtype)[:, None, :, None].expand(-1, 1, -1, 3)
    return (evaluate_sh(one_each, directions)[..., 0].T - 0.5) / _SMALL
