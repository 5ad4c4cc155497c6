"""A fit that starts where that of a neighboring window of the same clip has ended.

Over the frames that both show, the motion is the neighbor's; beyond them it is held, until training follows the frames
one after another.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.training.trainer import Trainer
from ds4d.types import RawGaussians

_TEMPORAL = "motion.field.hexplane._temporal."
# Of one window: the features of its frames, and lifetimes on its own timeline.
_OWN = ("motion.features.", "gaussians.lifetimes")


def canonical_gaussians(state: Mapping[str, Any]) -> RawGaussians:
    """The canonical Gaussians in the state of a trainer (`Trainer.state_dict`)."""
    parts = {name: state["scene"][f"gaussians.{name}"] for name in ("means", "quats", "log_scales", "opacity_logits")}
    sh = torch.cat((state["scene"]["gaussians.sh0"], state["scene"]["gaussians.shN"]), dim=1)
    return RawGaussians(**parts, sh=sh)


def canonical_lifetimes(state: Mapping[str, Any], seconds: float) -> Float[Tensor, "N 2"] | None:
    """The lifetimes in the state of a trainer, on the timeline of a window that begins `seconds` later (or earlier)."""
    lifetimes = state["scene"].get("gaussians.lifetimes")
    return None if lifetimes is None else lifetimes - seconds  # FOREVER stays what it is


def continue_from(trainer: Trainer, state: Mapping[str, Any], span: tuple[float, float]) -> None:
    """Gives a trainer before its first step the motion and the view correction of a neighboring window.

    Args:
        trainer: trainer of a window, with the canonical Gaussians of the neighbor.
        state: final state of the neighbor's trainer (`Trainer.state_dict`).
        span: first and last time of the window on the time axis of the neighbor, where the neighbor is [0, 1].

    Raises:
        KeyError: a part of the state is missing.
        RuntimeError: the state belongs to a fit with other settings.
    """
    own = trainer.scene.state_dict()
    moved = {}
    for name, values in own.items():
        if name.startswith(_OWN):
            moved[name] = values
        elif name.startswith(_TEMPORAL):
            moved[name] = _resampled(state["scene"][name], 2, values.shape[2], span)
        else:
            moved[name] = state["scene"][name]
    trainer.scene.load_state_dict(moved)
    if trainer.view_correction is not None:
        corrected = {
            name: _resampled(values, 0, len(values), span) if name.endswith("_over_time") else values
            for name, values in state["view_correction"].items()
        }
        trainer.view_correction.load_state_dict(corrected)


def _resampled(values: Float[Tensor, "..."], axis: int, count: int, span: tuple[float, float]) -> Float[Tensor, "..."]:
    """Values at `count` even times of a span, linear between their rows along the axis, which cover [0, 1]."""
    rows = values.shape[axis]
    position = torch.linspace(*span, count).clamp(0, 1) * (rows - 1)
    low = position.floor().long().clamp(0, max(0, rows - 2))
    high = (low + 1).clamp_max(rows - 1)
    weight = (position - low).to(values).reshape(-1, *[1] * (values.ndim - 1 - axis))
    first, second = values.index_select(axis, low), values.index_select(axis, high)
    return torch.lerp(first, second, weight.expand_as(first))
