"""Where the frames of a clip lie in time."""

import torch
from jaxtyping import Float
from torch import Tensor


def frame_times(count: int) -> Float[Tensor, " T"]:
    """Frame i of T lies at i / (T - 1); a single frame at 0. Time 1 is the last frame, not the wrap of a loop."""
    if count < 1:
        raise ValueError(f"frame_times: count must be at least 1, got {count}.")
    return torch.linspace(0, 1, count) if count > 1 else torch.zeros(1)
