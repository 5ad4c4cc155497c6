"""Turning Gaussians from our world, +y up, into worlds of other programs."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import evaluate_sh, multiply_quats, quats_to_matrices
from ds4d.types import RawGaussians, Similarity

UpAxis = Literal["y", "z", "-y"]

# Quaternions wxyz that turn +y to the axis, about x.
_TURNS = {"y": (1.0, 0.0, 0.0, 0.0), "z": (0.5**0.5, 0.5**0.5, 0.0, 0.0), "-y": (0.0, 1.0, 0.0, 0.0)}
_SMALL = 0.05  # coefficients so small that no colour reaches the clamp at 0


def turn_up(raw: RawGaussians, up_axis: UpAxis) -> RawGaussians:
    """The same object with `up_axis` as its up direction: turned about x, view-dependent colour included.

    Args:
        raw: +y up.
        up_axis: "y" (nothing changes), "z" (Blender) or "-y" (OpenCV).

    Raises:
        ValueError: `up_axis` is none of these.
    """
    if up_axis not in _TURNS:
        raise ValueError(f"turn_up: up_axis must be one of {', '.join(_TURNS)}, got {up_axis!r}.")
    if up_axis == "y":
        return raw
    quat = raw.quats.new_tensor(_TURNS[up_axis])
    rotation = quats_to_matrices(quat)
    return RawGaussians(
        means=raw.means @ rotation.T,
        quats=multiply_quats(quat.expand_as(raw.quats), raw.quats),
        log_scales=raw.log_scales,
        opacity_logits=raw.opacity_logits,
        sh=turn_sh(raw.sh, rotation),
    )


def turned_world(world: Similarity, up_axis: UpAxis | None) -> Similarity:
    """The way into the inner world from the user's, or from one of the same place and size with `up_axis` up.

    Args:
        world: from the user's world to the inner one, which is +y up.
        up_axis: None leaves the user's world as it is.
    """
    if up_axis is None:
        return world
    return replace(world, rotation=quats_to_matrices(torch.tensor(_TURNS[up_axis])).T)


def turn_sh(sh: Float[Tensor, "*S N K 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "*S N K 3"]:
    """Coefficients whose colour along R d is that of `sh` along d.

    Turned harmonics are sums of harmonics of the same degree, so the K x K matrix between them follows exactly from
    their values in a few directions.
    """
    bases = sh.shape[-2]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4 * bases, 3, generator=generator, dtype=torch.float64)
    turned = directions @ rotation.T.to(directions)
    mixing = torch.linalg.lstsq(_basis(bases, turned), _basis(bases, directions)).solution
    return torch.einsum("kj,...jc->...kc", mixing.to(sh), sh)


def _basis(bases: int, directions: Float[Tensor, "D 3"]) -> Float[Tensor, "D K"]:
    """The value of every harmonic in every direction."""
    one_each = _SMALL * torch.eye(bases, dtype=directions.dtype)[:, None, :, None].expand(-1, 1, -1, 3)
    return (evaluate_sh(one_each, directions)[..., 0].T - 0.5) / _SMALL
