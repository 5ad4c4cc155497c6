"""The images that show the object's shape at one time, with their cameras."""

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.types import Cameras, FrameBatch, MultiViewVideo

MaskedViews = tuple[FrameBatch, Cameras, Float[Tensor, " V"]]  # images, cameras, view weights


def middle_views(video: MultiViewVideo) -> MaskedViews:
    """The views of the middle frame; of a moving camera that has one view per time, those of all times."""
    if video.is_monocular_sweep:
        images, cameras = masked_views_of_all_times(video)
        return images, cameras, torch.ones(cameras.num_views)
    return masked_views_at(video, video.middle)


def masked_views_at(video: MultiViewVideo, time: int) -> MaskedViews:
    """The views that have an image in a frame."""
    views = video.valid[time].nonzero().squeeze(1)
    return video.gather(torch.full_like(views, time), views), video.cameras[time, views], video.view_weights[views]


def masked_views_of_all_times(video: MultiViewVideo, max_images: int = 24) -> tuple[FrameBatch, Cameras]:
    """Images of all times, at most `max_images` evenly spaced ones, as if the object were static."""
    pairs = video.valid.nonzero()
    chosen = torch.linspace(0, len(pairs) - 1, min(max_images, len(pairs))).round().long().unique()
    times, views = pairs[chosen].unbind(1)
    return video.gather(times, views), video.cameras[times, views]
