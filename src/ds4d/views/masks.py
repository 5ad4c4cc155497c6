"""Whether the pictures' silhouettes can be used at all."""

import torch

from ds4d.types import MultiViewVideo
from ds4d.views.frame_store import FrameStore

_OPAQUE = 128  # of 255: at least half covered


def check_masks(video: MultiViewVideo, *, times: int | None = None) -> None:
    """Reads pictures and refuses empty masks, and masks of the real view that cover the whole picture.

    Args:
        video: the views to check.
        times: how many times to read, spread evenly over the clip with both ends; all if None.

    Raises:
        ValueError: a picture is empty, or the real view has no background; the message names it.
    """
    count = video.num_times if times is None else min(times, video.num_times)
    for time in torch.linspace(0, video.num_times - 1, count).round().long().tolist():
        for view in video.valid[time].nonzero().flatten().tolist():
            alpha = video.frames.read(time, view)[..., 3]
            if not (alpha >= _OPAQUE).any():
                raise ValueError(
                    f"{_name(video, time, view)} must show the object, got an empty mask. "
                    "Make its mask again, or remove the frame."
                )
            if view == 0 and (alpha >= _OPAQUE).all():
                raise ValueError(
                    f"{_name(video, time, view)} must have a transparent background, got an opaque picture. "
                    "Cut the object out first (save RGBA)."
                )


def _name(video: MultiViewVideo, time: int, view: int) -> str:
    place = f"frame {time} of view {video.view_names[view]!r}"
    return f"{video.frames.paths[time][view]} ({place})" if isinstance(video.frames, FrameStore) else place
