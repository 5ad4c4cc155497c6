"""Gaussians that exist for a part of the time only, such as those of a tool that is taken up.

A lifetime is a birth and a death in seconds of a scene's timeline: the Gaussian is there from its birth on, and no more
from its death on. The edge is hard, as frames show an object or do not; a fade over several frames would be wrong in
all of them. Births and deaths belong halfway between two frames, where rounding decides nothing.

Outside of its life a Gaussian keeps its row and its path, and has an opacity that no program shows (`DEAD_LOGIT`): row
i is the same Gaussian at all times, and players that interpolate between frames fade it within one.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ds4d.types import Gaussians, RawGaussians

FOREVER = torch.finfo(torch.float32).max  # seconds: finite, as all that files hold
# Opacity 2e-9: 0 in 8 bits and for every renderer, and near enough to those of the living to be blended with them.
DEAD_LOGIT = -20.0


def endless_lifetimes(count: int) -> Float[Tensor, "N 2"]:
    """Lifetimes of Gaussians that are always there."""
    return torch.tensor([-FOREVER, FOREVER]).repeat(count, 1)


def finite_lifetimes(lifetimes: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
    """The same lifetimes in finite numbers.

    Args:
        lifetimes: births and deaths, seconds; -inf and inf for none.

    Raises:
        ValueError: a number is NaN, or a Gaussian dies before it is born.
    """
    if not (lifetimes[:, 0] < lifetimes[:, 1]).all():
        row = int((~(lifetimes[:, 0] < lifetimes[:, 1])).nonzero()[0])
        birth, death = lifetimes[row].tolist()
        raise ValueError(
            f"lifetimes must be births and later deaths in seconds, got {birth:g} and {death:g} for Gaussian {row}. "
            "Leave a Gaussian out that never lives."
        )
    return lifetimes.clamp(-FOREVER, FOREVER)


def are_alive(lifetimes: Float[Tensor, "N 2"], seconds: Float[Tensor, " T"]) -> Bool[Tensor, "T N"]:
    """Whether each Gaussian is there at each time, in seconds: from its birth to before its death."""
    birth, death = lifetimes.unbind(1)
    return (birth <= seconds[:, None]) & (seconds[:, None] < death)


def hide_dead(raw: RawGaussians, alive: Bool[Tensor, "T N"]) -> RawGaussians:
    """Raw Gaussians with a leading axis T, of which those that are not alive have `DEAD_LOGIT`."""
    return replace(raw, opacity_logits=raw.opacity_logits.masked_fill(~alive, DEAD_LOGIT))


def without_dead(gaussians: Gaussians, alive: Bool[Tensor, "T N"]) -> Gaussians:
    """Gaussians with a leading axis T, of which those that are not alive have opacity 0."""
    return replace(gaussians, opacities=gaussians.opacities * alive)
