"""Times of video frames, in [0, 1]."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def frame_times(count: int) -> Float[Tensor, " T"]:
    """Times of `count` frames: i / (count - 1), or 0 for a single one. Time 1 is the last frame, of loops, too."""
    if count < 1:
        raise ValueError(f"the number of frames must be at least 1, got {count}.")
    return torch.linspace(0, 1, count) if count > 1 else torch.zeros(1)


def nearest_frames(
    frames: Float[Tensor, " T"], times: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Indices of the frames before and after each time, and the interpolation weight of the latter, in [0, 1].

    Args:
        frames: increasing times of the frames.
        times: any times; those before the first or after the last frame take that frame.
    """
    high = torch.searchsorted(frames, times.contiguous(), right=True).clamp(1, max(1, len(frames) - 1))
    low = high - 1
    high = high.clamp_max(len(frames) - 1)
    gap = (frames[high] - frames[low]).clamp_min(1e-12)
    return low, high, ((times - frames[low]) / gap).clamp(0, 1)
