"""Taking Gaussians out of the inner world, where they were fitted, into the user's."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry.bounds import inverse_similarity, transform_points
from ds4d.geometry.rotations import matrices_to_quats, multiply_quats
from ds4d.geometry.spherical_harmonics import evaluate_sh
from ds4d.types import RawGaussians, Similarity

_SMALL = 0.05  # coefficients so small that no color reaches the clamp at 0


def into_world(raw: RawGaussians, world: Similarity) -> RawGaussians:
    """The same object in the user's world: moved, turned and scaled, view-dependent color included.

    Args:
        raw: in the inner world.
        world: from the user's world to the inner one.
    """
    out = inverse_similarity(world)
    quat = matrices_to_quats(out.rotation).to(raw.quats)
    return RawGaussians(
        means=transform_points(out, raw.means),
        quats=multiply_quats(quat.expand_as(raw.quats), raw.quats),
        log_scales=raw.log_scales + math.log(out.scale),
        opacity_logits=raw.opacity_logits,
        sh=turn_sh(raw.sh, out.rotation.to(raw.sh)),
    )


def turn_sh(sh: Float[Tensor, "*S N K 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "*S N K 3"]:
    """Coefficients whose color along R d is that of `sh` along d.

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
