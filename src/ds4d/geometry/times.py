"""Where the frames of a clip lie in time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def frame_times(count: int) -> Float[Tensor, " T"]:
    """Frame i of T lies at i / (T - 1); a single frame at 0. Time 1 is the last frame, not the wrap of a loop."""
    if count < 1:
        raise ValueError(f"frame_times: count must be at least 1, got {count}.")
    return torch.linspace(0, 1, count) if count > 1 else torch.zeros(1)


def nearest_frames(
    frames: Float[Tensor, " T"], times: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, " B"]]:
    """The frames before and after each time, and how far the time lies between them, in [0, 1].

    Args:
        frames: rising times of the frames.
        times: any; those outside the frames' span take the frame at its end.
    """
    high = torch.searchsorted(frames, times.contiguous(), right=True).clamp(1, max(1, len(frames) - 1))
    low = high - 1
    high = high.clamp_max(len(frames) - 1)
    gap = (frames[high] - frames[low]).clamp_min(1e-12)
    return low, high, ((times - frames[low]) / gap).clamp(0, 1)
